"""One simulated host without its sockets: a request's bytes in, a `Script` of timed bytes out.

    request -> checks -> queued fault? -> prompt cache -> draw TTFT and speed -> compose the answer -> Script

`sim_connection.py` plays scripts. A script is lazy: chunks of a long answer are made when they are sent.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any, Literal, NamedTuple

import orjson

from gateway.sim.flaws import SOUND, Flaws
from gateway.sim.host_prompt_cache import HostPromptCache, prompt_text, token_count
from gateway.sim.sim_answer import SimAnswer, compose, thinks
from gateway.sim.sim_host import MODEL, SimHost, draw_speed, draw_ttft
from gateway.sim.wire import Frame, error, event, stream, whole
from gateway.types import Usage

Ending = Literal["clean", "cut", "reset", "stall"]
FAULTS = (  # and any status from 400 to 599
    *("ok", "cut", "reset", "stall", "silent", "slow", "drop", "in_band", "garbage", "unclean", "empty"),
)
HALVED: dict[str, Ending] = {"cut": "cut", "reset": "reset", "stall": "stall"}  # faults that leave half an answer
GARBAGE = b'data: {"choices": [{"delta"\n\n'
SLOWER = 5.0  # factor of a slow answer's times
MOST_FAULTS = 1000  # in the queue
RETRY_AFTER = 1  # seconds
REFUSAL_TIME = 0.05  # seconds until an error status is sent


class Event(NamedTuple):
    """Bytes to send `at` seconds after the request, with their number of output tokens."""

    at: float
    data: bytes
    tokens: int


@dataclass(slots=True)
class Script:
    """One reply. Without `length` it is chunked, and its headers are sent at once; status 0 closes without a byte.

    `stall` keeps the connection open after the last event, `cut` closes it there, `reset` with a RST.
    """

    events: Iterator[Event]
    status: int = 200
    length: int | None = None
    kind: str = "application/json"
    ending: Ending = "clean"
    retry_after: int | None = None
    usage: Usage | None = None  # set where the tokens sent are billed


@dataclass(slots=True)
class Counters:
    """The response to `GET /_sim`. `tokens` are output tokens sent; money in 1e-12 USD."""

    requests: int = 0
    completed: int = 0
    cancelled: int = 0
    faults: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cost_pico_usd: int = 0


@dataclass(slots=True)
class Machine:
    """The state of one host. `speed` is a factor on its clock; 0 is instant."""

    host: SimHost
    flaws: Flaws = SOUND
    speed: float = 1.0
    seed: int = 0
    key: str | None = field(default=None, repr=False)
    counters: Counters = field(default_factory=Counters)
    fault_queue: deque[str] = field(default_factory=deque)
    _rng: Random = field(init=False, repr=False)
    _chance: Random = field(init=False, repr=False)
    _cache: HostPromptCache = field(init=False)

    def __post_init__(self) -> None:
        self._rng = Random(f"{self.seed}/{self.host.id}")
        self._chance = Random(f"{self.seed}/{self.host.id}/flaws")  # apart: times and faults stay the same
        self._cache = HostPromptCache(self.host.cache_ttl / (self.speed or 1))

    def chat(self, raw: bytes, now: float) -> Script:
        """The reply to a chat request that arrived at `now`, in seconds of any monotonic clock."""
        self.counters.requests += 1
        try:
            body = _parsed(raw)
        except ValueError as problem:
            return rejection(400, str(problem))
        fault = self._fault()
        if fault != "ok":
            self.counters.faults += 1
        if fault.isdigit():
            return rejection(int(fault))
        if fault == "drop":
            return Script(iter(()), status=0, ending="cut")
        return self._answer(body, fault, now)

    def steer(self, raw: bytes) -> Script:
        """`{"next": [faults of the next requests, in order], "speed": factor}`; either may be left out."""
        try:
            settings = orjson.loads(raw)
            faults = [str(fault) for fault in settings.get("next", ())]
            speed = float(settings.get("speed", self.speed))
        except (ValueError, TypeError, AttributeError):
            return rejection(400, 'expected {"next": ["429", "cut", ...], "speed": number}')
        unknown = [fault for fault in faults if fault not in FAULTS and not _is_error_status(fault)]
        if unknown or speed < 0 or len(faults) + len(self.fault_queue) > MOST_FAULTS:
            return rejection(400, f"unknown faults {unknown}, a negative speed or over {MOST_FAULTS}; faults: {FAULTS}")
        self.fault_queue.extend(faults)
        self.speed = speed
        return self.report()

    def report(self) -> Script:
        return reply(asdict(self.counters))

    def models(self) -> Script:
        model = {"id": MODEL, "object": "model", "created": 1764547200, "owned_by": self.host.provider}
        return reply({"object": "list", "data": [model | {"context_length": self.host.context}]})

    def settle(self, script: Script, tokens: int, cancelled: bool) -> None:
        """Books a reply that ended after `tokens` output tokens. Unsent tokens are not billed."""
        if cancelled:
            self.counters.cancelled += 1
        elif script.usage and script.ending == "clean":
            self.counters.completed += 1
        if script.usage:
            self.counters.tokens += tokens
            self.counters.prompt_tokens += script.usage.prompt
            self.counters.cached_tokens += script.usage.cached
            self.counters.cost_pico_usd += self._cost(script.usage, tokens)

    def _cost(self, usage: Usage, tokens: int) -> int:
        input_, cached, output = self.host.price.rates(usage.prompt, hour=0)
        return round(((usage.prompt - usage.cached) * input_ + usage.cached * cached + tokens * output) * 1_000_000)

    def _fault(self) -> str:
        if self.fault_queue:
            return self.fault_queue.popleft()
        rates, roll = self.host.rates, self._rng.random()
        half = rates.server_error / 2
        for fault, rate in (("429", rates.rate_limited), ("500", half), ("503", half), ("cut", rates.cut)):
            roll -= rate
            if roll < 0:
                return fault
        return "ok"

    def _answer(self, body: dict[str, Any], fault: str, now: float) -> Script:
        text = prompt_text(body)
        prompt = token_count(text)
        context = int(self.flaws.context * self.host.context)
        if prompt + (body.get("max_tokens") or 0) > context:
            return rejection(400, f"The context is {context} tokens long", "context_length_exceeded")
        thinking = self.flaws.thinks(thinks(body, self.host.dialect), self._chance)
        answer = _with_fault(self.said(body, thinking), fault)
        cached = min(self._cache.read(text, now), prompt)
        if self._rng.random() >= self.host.hit_efficiency:
            cached = 0
        usage = Usage(prompt, cached, answer.tokens, len(answer.reasoning), "host")
        slower = SLOWER if fault == "slow" else 1.0
        ttft = draw_ttft(self._rng, self.host, prompt - cached) * slower
        speed = draw_speed(self._rng, self.host) / slower
        frame = Frame(
            id=f"chatcmpl-{self._rng.getrandbits(96):024x}",
            created=int(time.time()),
            model=MODEL,
            dialect=self.host.dialect,
            logprobs=bool(body.get("logprobs")),
        )
        if not body.get("stream"):
            return _whole_script(whole(frame, answer, usage), usage, fault, ttft + answer.tokens / speed)
        include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = stream(frame, answer, usage, self.host.usage_chunk, include_usage)
        return _stream_script(_timed(events, ttft, speed), usage, fault)

    def said(self, body: dict[str, Any], thinking: bool) -> SimAnswer:
        """What this host says to a well-formed request."""
        return self.flaws.spoil(compose(body, thinking), self._chance)


def reply(body: dict[str, Any], status: int = 200, at: float = 0.0) -> Script:
    data = orjson.dumps(body)
    return Script(iter([Event(at, data, 0)]), status=status, length=len(data))


def rejection(status: int, message: str | None = None, code: str | None = None) -> Script:
    """An error in OpenAI's shape; a 429 has a Retry-After."""
    script = reply(error(status, message, code), status, REFUSAL_TIME)
    script.retry_after = RETRY_AFTER if status == 429 else None
    return script


def _is_error_status(fault: str) -> bool:
    return fault.isdigit() and 400 <= int(fault) <= 599


def _parsed(raw: bytes) -> dict[str, Any]:
    """The body, checked as far as composing an answer requires. ValueError names the problem."""
    body = orjson.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("The body must be a JSON object")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise ValueError("'messages' must be a list of at least one object")
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None and (not isinstance(body[name], int) or body[name] < 1):
            raise ValueError(f"'{name}' must be a positive integer")
    return body


def _with_fault(answer: SimAnswer, fault: str) -> SimAnswer:
    """The answer with the two faults that leave the stream itself intact."""
    if fault == "unclean":
        return replace(answer, finish="insufficient_system_resource")
    if fault == "empty":
        return SimAnswer((), (), (), "stop")
    return answer


def _timed(events: Iterator[tuple[bytes, int]], ttft: float, speed: float) -> Iterator[Event]:
    sent = 0
    for data, tokens in events:
        yield Event(ttft + sent / speed, data, tokens)
        sent += tokens


def _stream_script(events: Iterator[Event], usage: Usage, fault: str) -> Script:
    kind = "text/event-stream"
    if fault == "silent":
        return Script(iter(()), kind=kind, ending="stall")
    if fault not in (*HALVED, "in_band", "garbage"):
        return Script(events, kind=kind, usage=usage)
    every = list(events)
    half = every[: max(2, len(every) // 2)]
    if fault == "in_band":
        half.append(Event(half[-1].at, event(error(503)), 0))
        return Script(iter(half), kind=kind, usage=usage)
    if fault == "garbage":
        half.append(Event(half[-1].at, GARBAGE, 0))
        return Script(iter([*half, *every[len(half) :]]), kind=kind, usage=usage)
    return Script(iter(half), kind=kind, ending=HALVED[fault], usage=usage)


def _whole_script(data: bytes, usage: Usage, fault: str, at: float) -> Script:
    if fault == "in_band":
        return reply(error(503), at=at)
    if fault == "silent":
        return Script(iter([Event(at, b"", 0)]), length=len(data), ending="stall")
    sent = b"\0" + data[1:] if fault == "garbage" else data
    if fault in HALVED:  # it was all written before the first byte was sent
        sent = data[: len(data) // 2]
    events = iter([Event(at, sent, usage.completion)])
    return Script(events, length=len(data), ending=HALVED.get(fault, "clean"), usage=usage)
