"""One request by way of litellm: the transport's receiver on one side, litellm's request and answer on the other.

A 200 goes through litellm; the response with any other status goes to the receiver unchanged.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from gateway.repair.lenient_json import loads
from gateway.types import Fault
from gateway.upstream import sse
from gateway.upstream.litellm_answer import Body, HostFacts, chunk, completion
from gateway.upstream.litellm_request import HostRequest, Refused, checked, request_head
from gateway.upstream.reader import LARGEST_ANSWER
from gateway.upstream.transport.connection import Call, Receiver
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.transport import Transport

_READ = 8192  # characters of a message that are searched
_TRACEBACK = "Traceback (most recent call last)"
# As in `litellm.BadRequestError: AzureException BadRequestError - `.
_NAMES = re.compile(r"\A(?:[\w.]+(?:Error|Exception)(?::| -)?\s+)+(?<=[:-]\s)")
_UNENDED = "Stream ended before a finish_reason was received"
_PATH = re.compile(r"(?<![\w:/.])~?(?:/[\w.@+-]+){2,}|\b[A-Za-z]:\\[^\s'\"]+")


class Answered(NamedTuple):
    """The head and body of a host's 200."""

    headers: list[tuple[bytes, bytes]]
    body: Body


Send = Callable[[HostRequest], Awaitable[Answered]]
Translate = Callable[[Mapping[str, Any], Send], AsyncIterator[dict[str, Any]]]


class AdaptedCall:
    """One request, from `send` until its receiver got the end or `cancel` was called."""

    __slots__ = (
        "_body",
        "_call",
        "_connect_timeout",
        "_facts",
        "_headers",
        "_lost",
        "_origin",
        "_paused",
        "_receiver",
        "_response",
        "_size",
        "_status",
        "_stream",
        "_task",
        "_transport",
        "_written",
    )

    def __init__(
        self,
        translate: Translate,
        origin: Origin,
        transport: Transport,
        body: bytes,
        receiver: Receiver,
        connect_timeout: float,
        headers: bytes = b"",
    ) -> None:
        self._origin = origin
        self._transport = transport
        self._receiver: Receiver | None = receiver  # None once the call has ended
        self._connect_timeout = connect_timeout
        self._headers = headers
        self._call: Call | None = None
        self._paused = False
        self._status = 0
        self._size = 0  # bytes of the answer
        self._lost: tuple[Fault, str] | None = None
        self._stream = False
        self._facts = HostFacts()
        self._body = Body(self._throttle)
        self._written = False  # whether the request was written to the host; set when the call ends
        loop = asyncio.get_running_loop()
        self._response: asyncio.Future[Answered] = loop.create_future()
        self._task = loop.create_task(self._run(translate, body))

    def __repr__(self) -> str:
        state = "ended" if self._receiver is None else "sent" if self.written else "translating"
        return f"<AdaptedCall {state}{' paused' if self._paused else ''}>"

    @property
    def written(self) -> bool:
        """Whether the request was written to the host."""
        return self._written or (self._call is not None and self._call.written)

    def cancel(self) -> None:
        """Stops translating and closes the connection. No callback follows."""
        self._receiver = None
        self._task.cancel()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def pause(self) -> None:
        """Stops reading from the host. Bytes already read are still delivered."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        self._paused = False
        self._throttle(self._body.full)

    # between litellm and the host

    async def _send(self, request: HostRequest) -> Answered:
        """litellm's only way to a host: one request, to the endpoint's own origin and to no other."""
        if not self._origin.contains(request.url):
            raise Refused("litellm tried to send to a host other than that of base_url")
        if self._call is not None or self._status:
            raise Refused("litellm tried to send a second request")
        head = request_head(request, self._origin, self._headers)
        self._call = self._transport.send(self._origin, head, request.body, self, self._connect_timeout)
        if self._paused:
            self._call.pause()
        return await self._response

    def _throttle(self, full: bool) -> None:
        """Pauses reading from the host while litellm has enough bytes, or while the client's side is paused."""
        if self._call is None:
            return
        if full or self._paused:
            self._call.pause()
        else:
            self._call.resume()

    # from the transport

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._written = True
        self._status = status
        if status != 200:  # an error: the host's own body, past litellm
            self._task.cancel()
        else:
            self._response.set_result(Answered(headers, self._body))
        assert self._receiver is not None
        self._receiver.on_response(status, headers)

    def on_data(self, data: bytes) -> None:
        assert self._receiver is not None
        self._size += len(data)
        if self._status != 200:
            self._receiver.on_data(data)
        elif not self._stream and self._size > LARGEST_ANSWER:
            self._lose(Fault.GARBAGE, f"an answer of more than {LARGEST_ANSWER} bytes")
        else:
            self._facts.feed(data)
            self._body.feed(data)

    def on_complete(self) -> None:
        self._call = None
        if self._status == 200:
            self._facts.end()
            self._body.end()
        elif (receiver := self._end()) is not None:
            receiver.on_complete()

    def on_lost(self, fault: Fault, message: str) -> None:
        self._written = self.written
        self._call = None
        if self._status != 200:
            self._lose(fault, message)
        else:  # deliver what arrived before the loss first
            self._lost = fault, message
            self._body.end(ConnectionError(message))

    # from litellm

    async def _run(self, translate: Translate, body: bytes) -> None:
        try:
            request = checked(orjson.loads(body))
            self._stream = self._facts.streamed = bool(request.get("stream"))
            async for payload in translate(request, self._send):
                self._deliver(payload)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failed(error)
        else:
            self._ended()

    def _deliver(self, payload: dict[str, Any]) -> None:
        if self._receiver is None or (self._lost and not self._stream):
            return
        if self._stream:
            self._receiver.on_data(sse.event(orjson.dumps(chunk(payload, self._facts))))
        else:
            self._receiver.on_data(orjson.dumps(completion(payload, self._facts)))

    def _failed(self, error: Exception) -> None:
        """litellm failed: because the connection was lost, before it sent its request, or while it read the answer."""
        if self._receiver is None:
            return
        if self._lost:
            self._lose(*self._lost)
            return
        if self._stream and _UNENDED in str(error):  # litellm's own error; the host only ended without a finish reason
            self._ended()
            return
        error_fields = _openai_error(error, self._facts.problem)
        if self._status == 200 and not self._stream:
            self._lose(Fault.GARBAGE, f"litellm could not read the host's answer: {error_fields['message']}")
            return
        event = orjson.dumps({"error": error_fields})
        if self._status == 200:
            self._receiver.on_data(sse.event(event))
        else:
            self._receiver.on_response(error_fields["code"], [])
            if self._receiver is not None:
                self._receiver.on_data(event)
        self._finish()

    def _ended(self) -> None:
        if self._receiver is None:
            return
        if self._lost:
            self._lose(*self._lost)
        elif not self._status:
            self._lose(Fault.GARBAGE, "litellm sent no request")
        else:
            if self._stream:
                self._receiver.on_data(sse.event(sse.DONE))
            self._finish()

    def _finish(self) -> None:
        receiver = self._end()
        if receiver is not None:
            receiver.on_complete()

    def _lose(self, fault: Fault, message: str) -> None:
        receiver = self._end()
        if receiver is not None:
            receiver.on_lost(fault, message)

    def _end(self) -> Receiver | None:
        """Releases everything. Returns the receiver once, and None afterwards."""
        receiver = self._receiver
        self._receiver = None
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if asyncio.current_task() is not self._task:
            self._task.cancel()
        return receiver


def _openai_error(error: Exception, problem: tuple[str, str] | None) -> dict[str, Any]:
    """An exception in OpenAI's error shape. litellm's exceptions carry a status; the host's own message takes
    precedence."""
    status = getattr(error, "status_code", None)
    code = status if isinstance(status, int) and 400 <= status < 600 else 500
    if problem is not None:
        kind, text = problem
        return {"message": (loads(text.encode())[0] or {}).get("message") or text, "type": kind, "code": code}
    message = _first_line(str(getattr(error, "message", None) or error)) or type(error).__name__
    return {"message": message, "code": code, "param": getattr(error, "param", None)}


def _first_line(text: str) -> str:
    """The first line of a message, without exception names in front, and without tracebacks or paths of this machine,
    which litellm appends."""
    text = _NAMES.sub("", text[:_READ].partition(_TRACEBACK)[0].strip())
    return _PATH.sub("[path]", text.partition("\n")[0]).strip()
