"""Answers to HTTP/1.0, which knows no chunks: the connection's end is the answer's end, where no length is said."""

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class Unframed(RequestResponseCycle):
    """uvicorn's cycle of one request and its answer, with another end."""

    async def send(self, message: ASGISendEvent) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self.response_started = True
            self.waiting_for_100_continue = False
            headers = [*self.default_headers, *message.get("headers", ()), (b"connection", b"close")]
            lines = [b"%b: %b\r\n" % header for header in headers]
            self.transport.write(b"".join((STATUS_LINE[message["status"]], *lines, b"\r\n")))
        elif message["type"] == "http.response.body":
            if self.scope["method"] != "HEAD":
                self.transport.write(message.get("body", b""))
            if not message.get("more_body"):
                self.response_complete = True
                self.message_event.set()
                self.transport.close()
                self.on_response()
