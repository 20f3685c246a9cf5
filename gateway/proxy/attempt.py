"""One try at one endpoint: the request goes out, a reader reads the answer, the exchange decides."""

from collections.abc import Callable
from math import ceil
from typing import Protocol

from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import Timer
from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_repair import mender
from gateway.route.signals import Event, Finished, FirstToken, Send
from gateway.route.tracked_attempt import MEASURES_SPEED, Observation
from gateway.surface.answer import shape_of
from gateway.types import Failure, Fault, Request, ToolResult, Usage, may_be_empty
from gateway.upstream.assembling import AssemblingReader
from gateway.upstream.dialects import outgoing, relays
from gateway.upstream.reader import LARGEST_ANSWER
from gateway.upstream.shape import Shape
from gateway.upstream.stream import StreamReader
from gateway.upstream.transport.connection import STALE_WINDOW, SentCall
from gateway.upstream.usage import NO_USAGE, bill, billed_share
from gateway.upstream.whole_reader import WholeReader

SAYS_TOOLS = frozenset({"stop", "tool_calls"})  # an answer that was cut short may have cut off arguments
LEAKS = frozenset({"call", "markup"})  # what was mended of a call that the host had left in the text
CONTEXTS = 8  # times the context that an endpoint declares: a host that counts more tokens has miscounted
LINGER = 1.0  # seconds that a host has after its answer to end it properly, so that the connection can be kept


class AttemptOwner(Protocol):
    """The live exchange, as its attempts see it."""

    def feed(self, event: Event) -> None: ...
    def failed(self, attempt: "Attempt", failure: Failure) -> None: ...
    def ending(self, attempt: "Attempt") -> None:
        """The answer is whole but for its usage and `[DONE]`."""


def _nowhere(_: bytes) -> None:
    """Drops the bytes of an attempt that is not the answer."""


class Attempt:
    """Listens to a reader. Times are in seconds, on the loop's clock.

    `received_at` is when any byte came last, `chunk_at` when a chunk did; comments of a host that stalls are no chunks.
    `ending_at` is when the answer was whole but for its usage. `reshape` changes the shape of its chunks. `relay` takes
    the answer's bytes, from the commit on; an answer that is held gathers in `held_back` until then.
    """

    __slots__ = (
        "_call",
        "_fault",
        "_held_size",
        "_linger",
        "_owner",
        "_runtime",
        "begun",
        "chunk_at",
        "cost",
        "duration",
        "ended_at",
        "ending_at",
        "first_at",
        "held",
        "held_back",
        "prompt_cost",
        "reader",
        "received_at",
        "relay",
        "saved",
        "send",
        "sent_at",
        "shape",
        "slot",
        "throughput",
        "tools",
        "ttft",
        "usage",
        "written",
    )

    def __init__(
        self,
        runtime: Runtime,
        owner: AttemptOwner,
        send: Send,
        request: Request,
        reshape: Callable[[Shape], Shape] | None = None,
    ) -> None:
        self._runtime = runtime
        self._owner = owner
        self._call: SentCall | None = None
        self._linger: Timer | None = None
        self.send = send
        self.sent_at = self.received_at = self.chunk_at = runtime.clock()
        self.first_at: float | None = None
        self.ttft: float | None = None  # seconds
        self.duration = 0.0  # seconds from the send to the end, of a settled attempt
        self.ended_at: float | None = None
        self.ending_at: float | None = None
        self.begun = False  # whether its first token has come
        self.written = False  # whether the request was written to the host
        self._fault: Fault | None = None  # of the host
        self.held = False  # whether the client was slower than the host
        self.usage = NO_USAGE
        self.cost = 0  # 1e-12 USD
        self.prompt_cost = 0  # part of it
        self.saved = 0  # 1e-12 USD, by the host's prompt cache
        self.throughput: float | None = None  # output tokens per second after the first token
        self.tools: ToolResult = ""
        self.slot = 0  # where it is recorded while it is under way
        self.relay: Callable[[bytes], object] = _nowhere
        self.held_back: list[bytes] = []
        self._held_size = 0  # bytes
        now = runtime.wall_clock()
        shape = shape_of(request, send.choice.endpoint, now)
        self.shape = shape if reshape is None else reshape(shape)
        self.reader = self._reader(request, now, reshape is not None)

    def _reader(self, request: Request, now: float, reshapes: bool) -> StreamReader | WholeReader:
        """The reader of the answer. `now` in unix time; `reshapes`: its chunks never pass as they are."""
        body, shape, streams = request.body, self.shape, self.send.tried.streams
        calls = ToolCallCheck() if "tools" in request.needs else None
        mends = mender(body) if calls is not None or "plugins" in body else None
        if not (request.stream or streams):
            return WholeReader(self, now, shape, calls, mends)
        choices = body.get("n") or 1
        if not request.stream:
            return AssemblingReader(self, now, shape, calls, mends, choices=choices)
        rewrite = reshapes or not relays(self.send.choice.endpoint, request)
        return StreamReader(self, now, rewrite=rewrite, choices=choices, shape=shape, calls=calls, mender=mends)

    def __repr__(self) -> str:
        return f"<Attempt {self.send.attempt} at {self.send.choice.endpoint.id}>"

    def begin(self, request: Request, connect_timeout: float) -> None:
        """Sends the request. KeyError for an endpoint without a destination."""
        runtime, send = self._runtime, self.send
        endpoint, trace = send.choice.endpoint, runtime.trace_headers
        headers = b"" if trace is None else trace(request, send.attempt)
        body = outgoing(request, endpoint, send.tried.streams)
        self._call = runtime.destinations[endpoint.id].send(body, self, connect_timeout, headers)

    def cancel(self) -> None:
        if self._call is not None:
            self.written = self.written or self._call.written
            self._call.cancel()
            self._call = None

    def hold(self) -> None:
        """The answer has begun, and is held until it is whole."""
        self.relay = self._hold

    def _hold(self, data: bytes) -> None:
        self.held_back.append(data)
        self._held_size += len(data)
        if self._held_size > LARGEST_ANSWER:
            self._owner.failed(self, Failure(Fault.GARBAGE, f"an answer of more than {LARGEST_ANSWER} bytes"))

    def let_go(self) -> None:
        """The answer is whole. What the host still sends is dropped, and must end soon."""
        if self._call is not None:
            self._call.resume()
            self._linger = self._runtime.wheel.after(LINGER, self.cancel)

    def pause(self) -> None:
        self.held = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        if self._call is not None:
            self._call.resume()

    # from the transport

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.written = True
        self.reader.on_response(status, headers)

    def on_data(self, data: bytes) -> None:
        self.received_at = self._runtime.clock()
        self.reader.on_data(data)
        if self.ending_at is None and self.reader.finished:
            self.ending_at = self.received_at
            if self.ended_at is None:
                self._owner.ending(self)

    def on_complete(self) -> None:
        self._call = None  # whose request was written: the answer says so
        if self._linger is not None:
            self._linger.cancel()
        self.reader.on_complete()

    def on_lost(self, fault: Fault, message: str) -> None:
        if self._call is not None:
            self.written = self.written or self._call.written
        self._call = None
        if self._linger is not None:
            self._linger.cancel()
        self.reader.on_lost(fault, message)

    # from the reader

    @property
    def may_be_empty(self) -> bool:
        """Whether an answer may have no content: the request allows it, another host gave none either, or the text that
        it continues was whole."""
        return self.send.continues or bool(self.send.tried.empties) or may_be_empty(self.send.tried.request)

    def on_first_token(self) -> None:
        self.first_at = self._runtime.clock()
        self.ttft = self.first_at - self.sent_at
        self._owner.feed(FirstToken(self.send.attempt, self.first_at))

    def on_chunk(self, data: bytes) -> None:
        self.chunk_at = self.received_at
        self.relay(data)

    def on_comment(self, data: bytes) -> None:
        self.relay(data)

    def on_finished(self) -> None:
        self._owner.feed(Finished(self.send.attempt, self._runtime.clock()))

    def on_failed(self, failure: Failure) -> None:
        self._fault = failure.fault
        self._owner.failed(self, self._runtime.redactor.concealed(failure, self.send.choice.endpoint))

    # what it came to

    def produced(self) -> int:
        """Output tokens that came, estimated from its deltas or bytes."""
        return self.send.tried.state.output_size.tokens(self.reader.deltas, self.reader.answer_size)

    def settle(self, now: float, hour: int, cut_off: bool, likely_output: float) -> Observation:
        """Fixes usage and cost, and returns what the fleet learns. `hour` (0-23, UTC) is when it was sent,
        `likely_output` the usual output of such requests in tokens, `cut_off` whether the gateway ended it."""
        reader, endpoint, request = self.reader, self.send.choice.endpoint, self.send.tried.request
        self.ended_at, self.duration = now, now - self.sent_at
        usage = reader.usage
        if usage.source != "host" or not self._is_possible(usage, request):
            usage = self._estimated(request, cut_off, likely_output)
        self.usage = usage
        if reader.calls is not None and reader.finish_reason in SAYS_TOOLS:
            self.tools = self._judged(reader.calls, request)
        if endpoint.price:
            self.cost, self.prompt_cost, self.saved = bill(usage, endpoint.price, hour)
        tools = self.tools == "ok" if self.tools else None
        if self.first_at is not None:
            self.throughput = self._measured(self.first_at, usage.completion)
        return Observation(usage, self.ttft, self.throughput, tools, reader.empty, reader.deltas, reader.answer_size)

    def _estimated(self, request: Request, cut_off: bool, likely_output: float) -> Usage:
        """What the host will probably bill for an answer without a count."""
        produced, counted = self.produced(), bool(self.reader.finish_reason) and not cut_off
        read = produced or self.first_at is not None or self._fault is Fault.EMPTY
        share = 1.0 if read else self._share_of_prompt(cut_off)
        if not share:
            return NO_USAGE
        if self._bills_the_rest() if cut_off else self._is_half():
            produced = max(produced, round(likely_output))
        prompt = ceil(share * request.prompt_tokens)
        return Usage(
            prompt, int(self.send.choice.parts.hit * prompt), produced, 0, "counted" if counted else "estimated"
        )

    def _share_of_prompt(self, cut_off: bool) -> float:
        """The share of the prompt that is probably billed for an attempt without a token. 0 where the host cannot have
        had the request, said what was wrong, or closed the connection at once."""
        assert self.ended_at is not None
        waited = self.reader.status == 200 or self.ended_at - self.sent_at >= STALE_WINDOW
        if not self.written or not (cut_off or (self._fault in (Fault.CUT, Fault.GARBAGE) and waited)):
            return 0.0
        return billed_share(self.send.choice.endpoint.cancel, self.send.tried.streams, cut_off)

    def _is_possible(self, counted: Usage, request: Request) -> bool:
        """Whether it may be true: a wrong count would teach the fleet wrong costs, lengths and speeds."""
        most = CONTEXTS * self.send.choice.endpoint.context
        return counted.prompt <= most and counted.completion <= most * (request.body.get("n") or 1)

    def _judged(self, calls: ToolCallCheck, request: Request) -> ToolResult:
        """Whether the host's own calls are well formed, before they were mended."""
        result = calls.verdict(request.body.get("tools"))
        return "leaked" if result in ("", "ok") and not LEAKS.isdisjoint(self.reader.repairs) else result

    def _is_half(self) -> bool:
        """Whether only a part came of an answer that was whole at the host, because it is not streamed."""
        return self._fault is Fault.CUT and self.reader.answer_size > 0

    def _bills_the_rest(self) -> bool:
        """Whether the host bills an answer that was cut off in full."""
        habit = self.send.choice.endpoint.cancel
        return habit == "bills" or (habit == "unknown" and not self.send.tried.streams)

    def _measured(self, first_at: float, completion: int) -> float | None:
        """Output tokens per second after the first token; None where it cannot be measured."""
        if self.held or completion < MEASURES_SPEED or self.chunk_at <= first_at:
            return None
        return (completion - 1) / (self.chunk_at - first_at)
