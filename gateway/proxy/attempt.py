"""One try at one endpoint: the request goes out, the reader listens, the exchange hears what it must decide on."""

from collections.abc import Callable
from typing import Any, Protocol

from gateway.route.exchange import Event, Failed, Finished, FirstToken, Send
from gateway.types import Failure, Request, Row, Usage
from gateway.upstream.dialects import Address, outgoing, relays
from gateway.upstream.reader import StreamReader, WholeReader
from gateway.upstream.transport import Call, Transport
from gateway.upstream.usage import cost

SAYS_SPEED = 16  # output tokens from which the speed of an answer means something


class Owner(Protocol):
    """The exchange's shell."""

    def feed(self, event: Event) -> None: ...
    def relay(self, attempt: "Attempt", data: bytes) -> None: ...


class Attempt:
    """Listens to a reader. Times come from the loop's clock, in seconds."""

    __slots__ = ("_call", "_clock", "_owner", "ended_at", "first_at", "heard_at", "reader", "send", "sent_at")

    def __init__(self, owner: Owner, send: Send, request: Request, clock: Callable[[], float], unix: float) -> None:
        self._owner = owner
        self._clock = clock
        self._call: Call | None = None
        self.send = send
        self.sent_at = self.heard_at = clock()
        self.first_at: float | None = None
        self.ended_at: float | None = None
        self.reader: StreamReader | WholeReader
        if request.stream:
            self.reader = StreamReader(self, unix, rewrite=not relays(send.choice.endpoint, request))
        else:
            self.reader = WholeReader(self, unix)

    def begin(self, transport: Transport, address: Address, request: Request, connect_timeout: float) -> None:
        body = outgoing(request, self.send.choice.endpoint)
        self._call = transport.send(address.origin, address.head(len(body)), body, self, connect_timeout)

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def pause(self) -> None:
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        if self._call is not None:
            self._call.resume()

    # from the transport

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.reader.on_response(status, headers)

    def on_data(self, data: bytes) -> None:
        self.heard_at = self._clock()
        self.reader.on_data(data)

    def on_complete(self) -> None:
        self._call = None
        self.reader.on_complete()

    def on_lost(self, fault: Any, message: str) -> None:
        self._call = None
        self.reader.on_lost(fault, message)

    # from the reader

    def on_first_token(self) -> None:
        self.first_at = self._clock()
        self._owner.feed(FirstToken(self.send.attempt, self.first_at))

    def on_chunk(self, data: bytes) -> None:
        self._owner.relay(self, data)

    def on_finished(self) -> None:
        self._owner.feed(Finished(self.send.attempt, self._clock()))

    def on_failed(self, failure: Failure) -> None:
        self._owner.feed(Failed(self.send.attempt, failure, self._clock()))

    # what it came to

    @property
    def ttft(self) -> float | None:
        return None if self.first_at is None else self.first_at - self.sent_at

    def usage(self, request: Request) -> Usage:
        """What the host counted, or an estimate of what it will bill for an answer that never told."""
        if self.reader.usage.source == "host":
            return self.reader.usage
        produced = self.reader.estimated_output()
        if self.first_at is None and not produced:
            return Usage()
        return Usage(request.prompt_tokens, 0, produced, 0, source="estimated")

    def speed(self, usage: Usage, ended: float) -> float | None:
        """Output tokens a second after the first token; None where that says nothing."""
        if self.first_at is None or usage.completion < SAYS_SPEED or ended <= self.first_at:
            return None
        return (usage.completion - 1) / (ended - self.first_at)

    def row(self, request: Request, usage: Usage, unix: float, ended: float) -> Row:
        """The ledger's row, still without its outcome."""
        endpoint = self.send.choice.endpoint
        hour = int(unix // 3600) % 24
        return Row(
            id=f"{request.id}-{self.send.attempt}",
            exchange=request.id,
            at=unix,
            tenant=request.tenant,
            app=request.app,
            model=request.model,
            policy=request.policy,
            stream=request.stream,
            endpoint=endpoint.id,
            provider=endpoint.provider,
            attempt=self.send.attempt,
            outcome="ok",
            status=self.reader.status,
            finish_reason=self.reader.finish_reason,
            ttft=self.ttft,
            duration=ended - self.sent_at,
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
            reasoning_tokens=usage.reasoning,
            usage_source=usage.source,
            cost=cost(usage, endpoint.price, hour) if endpoint.price else 0,
        )
