"""One request by way of litellm: our transport's receiver on one side, litellm's question and answer on the other.

The host's answer decides which way it takes: a 200 goes through litellm, anything else past it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from gateway.repair.lenient import loads
from gateway.types import Fault
from gateway.upstream import sse
from gateway.upstream.litellm_answer import Body, Words, chunk, completion
from gateway.upstream.litellm_question import Question, Refused, checked, request_head
from gateway.upstream.reader import LARGEST_ANSWER
from gateway.upstream.transport.connection import Call, Receiver
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.transport import Transport

_READ = 8192  # characters of a message that are looked at
_TRACEBACK = "Traceback (most recent call last)"
# As in `litellm.BadRequestError: AzureException BadRequestError - `.
_NAMES = re.compile(r"\A(?:[\w.]+(?:Error|Exception)(?::| -)?\s+)+(?<=[:-]\s)")
_PATH = re.compile(r"(?<![\w:/.])~?(?:/[\w.@+-]+){2,}|\b[A-Za-z]:\\[^\s'\"]+")


class Answered(NamedTuple):
    """A host's 200."""

    headers: list[tuple[bytes, bytes]]
    body: Body


Ask = Callable[[Question], Awaitable[Answered]]
Translate = Callable[[Mapping[str, Any], Ask], AsyncIterator[dict[str, Any]]]


class AdaptedCall:
    """One request, from `send` until its receiver was told the end or `cancel` was called."""

    __slots__ = (
        "_asked",
        "_body",
        "_call",
        "_connect_timeout",
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
        "_words",
    )

    def __init__(
        self,
        translate: Translate,
        origin: Origin,
        transport: Transport,
        body: bytes,
        receiver: Receiver,
        connect_timeout: float,
    ) -> None:
        self._origin = origin
        self._transport = transport
        self._receiver: Receiver | None = receiver  # None once the call has ended
        self._connect_timeout = connect_timeout
        self._call: Call | None = None
        self._paused = False
        self._status = 0
        self._size = 0  # bytes of the answer
        self._lost: tuple[Fault, str] | None = None
        self._stream = False
        self._words = Words()
        self._body = Body(self._throttle)
        self._asked = False  # whether the host was sent the question, as far as that is known of a call that has ended
        loop = asyncio.get_running_loop()
        self._response: asyncio.Future[Answered] = loop.create_future()
        self._task = loop.create_task(self._run(translate, body))

    def __repr__(self) -> str:
        state = "ended" if self._receiver is None else "asked" if self.asked else "translating"
        return f"<AdaptedCall {state}{' paused' if self._paused else ''}>"

    @property
    def asked(self) -> bool:
        """Whether the host was sent the question."""
        return self._asked or (self._call is not None and self._call.asked)

    def cancel(self) -> None:
        """Stop translating, and close the connection. No callback comes afterwards."""
        self._receiver = None
        self._task.cancel()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def pause(self) -> None:
        """Read no more from the host. What was already read still comes."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        self._paused = False
        self._throttle(self._body.full)

    # between litellm and the host

    async def _ask(self, question: Question) -> Answered:
        """litellm's way out: one request, to the endpoint's own origin and nowhere else."""
        if Origin.from_url(question.url) != self._origin:
            raise Refused("litellm wants to ask another host than base_url names")
        if self._call is not None or self._status:
            raise Refused("litellm wants to ask twice")
        head = request_head(question, self._origin)
        self._call = self._transport.send(self._origin, head, question.body, self, self._connect_timeout)
        if self._paused:
            self._call.pause()
        return await self._response

    def _throttle(self, full: bool) -> None:
        """Holds the host back while litellm has enough to read, or the client wants no more."""
        if self._call is None:
            return
        if full or self._paused:
            self._call.pause()
        else:
            self._call.resume()

    # from the transport

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._asked = True
        self._status = status
        if status != 200:  # the host's own words, past litellm
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
            self._words.feed(data)
            self._body.feed(data)

    def on_complete(self) -> None:
        self._call = None
        if self._status == 200:
            self._words.end()
            self._body.end()
        elif (receiver := self._end()) is not None:
            receiver.on_complete()

    def on_lost(self, fault: Fault, message: str) -> None:
        self._asked = self.asked
        self._call = None
        if self._status != 200:
            self._lose(fault, message)
        else:  # what came before is told first
            self._lost = fault, message
            self._body.end(ConnectionError(message))

    # from litellm

    async def _run(self, translate: Translate, body: bytes) -> None:
        try:
            question = checked(orjson.loads(body))
            self._stream = self._words.streamed = bool(question.get("stream"))
            async for payload in translate(question, self._ask):
                self._tell(payload)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failed(error)
        else:
            self._ended()

    def _tell(self, payload: dict[str, Any]) -> None:
        if self._receiver is None or (self._lost and not self._stream):
            return
        if self._stream:
            self._receiver.on_data(sse.event(orjson.dumps(chunk(payload, self._words))))
        else:
            self._receiver.on_data(orjson.dumps(completion(payload, self._words)))

    def _failed(self, error: Exception) -> None:
        """litellm gave up: because the connection did, before it asked, or over an answer."""
        if self._receiver is None:
            return
        if self._lost:
            self._lose(*self._lost)
            return
        said = _said(error, self._words.problem)
        if self._status == 200 and not self._stream:
            self._lose(Fault.GARBAGE, f"litellm could not read the host's answer: {said['message']}")
            return
        told = orjson.dumps({"error": said})
        if self._status == 200:
            self._receiver.on_data(sse.event(told))
        else:
            self._receiver.on_response(said["code"], [])
            if self._receiver is not None:
                self._receiver.on_data(told)
        self._finish()

    def _ended(self) -> None:
        if self._receiver is None:
            return
        if self._lost:
            self._lose(*self._lost)
        elif not self._status:
            self._lose(Fault.GARBAGE, "litellm asked nobody")
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
        """Let go of everything; the receiver comes back only once."""
        receiver = self._receiver
        self._receiver = None
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if asyncio.current_task() is not self._task:
            self._task.cancel()
        return receiver


def _said(error: Exception, problem: tuple[str, str] | None) -> dict[str, Any]:
    """An exception in OpenAI's error shape. litellm's know the status that they stand for; the host's words win."""
    status = getattr(error, "status_code", None)
    code = status if isinstance(status, int) and 400 <= status < 600 else 500
    if problem is not None:
        kind, text = problem
        return {"message": (loads(text.encode())[0] or {}).get("message") or text, "type": kind, "code": code}
    message = _first_words(str(getattr(error, "message", None) or error)) or type(error).__name__
    return {"message": message, "code": code, "param": getattr(error, "param", None)}


def _first_words(text: str) -> str:
    """The first line of a message, without the names of exceptions around it, and nothing of this machine: litellm puts
    tracebacks behind messages."""
    words = _NAMES.sub("", text[:_READ].partition(_TRACEBACK)[0].strip())
    return _PATH.sub("[path]", words.partition("\n")[0]).strip()
