"""The only module that relies on undocumented parts of uvicorn.

    HttpToolsProtocol     one connection. We override the callbacks of its parser and transport, and `shutdown`; we read
                          app_state, transport, flow, parser, server_state and pipeline, and of the current request url,
                          headers, expect_100_continue and cycle
    its cycle             one request and its response. uvicorn reads its disconnected, keep_alive, response_complete
                          and message_event; a `DirectSink` in its place has these. The rest is RequestResponseCycle's
    FlowControl           read_paused, write_paused, resume_reading, drain
    STATUS_LINE           by status: b"HTTP/1.1 200 OK\\r\\n"
    Server                calls on_tick ten times a second, and startup, shutdown, capture_signals and handle_exit;
                          has started and force_exit
    Multiprocess          calls init_processes, then handle_signals and keep_subprocess_alive every half second until
                          should_exit is set, then terminate_all and join_all; has config, sockets, processes and
                          signal_queue
    Process               one worker: process, parent_conn (answers each b"ping"), start, kill, join, pid, exitcode

uvicorn is pinned to one version. `tests/server/test_uvicorn_internals.py` fails for whatever another version changes.
"""

import httptools
from uvicorn._types import ASGISendEvent
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors.multiprocess import Multiprocess, Process

__all__ = ["STARTUP_FAILURE", "STATUS_LINE", "Multiprocess", "Process", "RequestResponseCycle", "UvicornConnection"]


class UvicornConnection(HttpToolsProtocol):
    """uvicorn's connection, with methods for subclasses to fall back to uvicorn's own behaviour."""

    def hand_over(self) -> None:
        """Serves the request whose headers were just parsed as uvicorn would: over ASGI, in a task."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()
        self.headers = []  # from here on the parser appends trailers
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = Unframed

    def serve_queued(self) -> None:
        """Starts the oldest of the pipelined requests."""
        self._start_asgi_task(*self.pipeline.pop())

    def read_anew(self) -> None:
        """Resets the parser as for a new connection."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)


class Unframed(RequestResponseCycle):
    """A response in HTTP/1.0, which has no chunked encoding: it ends when the connection is closed."""

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
