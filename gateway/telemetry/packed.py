"""One series in one bucket of time, as the store keeps it: a string of integers that only grow.

    | 12 amounts, 8 bytes each | 16 counts | 24 faults | TTFT 100 | latency 120 | throughput 80 |    4 bytes each

    BITFIELD KEY  INCRBY i64 #5 120  INCRBY i64 #13 4294967298 ...      one command adds a batch of rows

Integers are big-endian, as BITFIELD has them. Two adjacent counts share one integer of 8 bytes, which halves the number
of increments. A new amount, count or fault takes the next free place, so that earlier strings stay readable; buckets
never change.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import add
from struct import Struct

from gateway.telemetry.log_buckets import LogBuckets

AMOUNTS = (
    "prompt",
    "cached",
    "completion",
    "reasoning",
    "cost",  # 1e-12 USD, as all money here
    "prompt_cost",
    "prompt_saved",
    "response_saved",
)
COUNTS = (
    "requests",
    "succeeded",
    "judged_requests",
    "first_ok",
    "cached_answers",
    "attempts",
    "ok",
    "judged",
    "tool_calls",
    "tool_calls_ok",
)
FAULT_NAMES = (
    "malformed",
    "rejected",
    "account",
    "rate_limited",
    "server",
    "refused",
    "timeout_first_token",
    "timeout_gap",
    "timeout_total",
    "cut",
    "garbage",
    "in_band",
    "unclean",
    "empty",
    "proxy",
)
SKETCHES = {
    "ttft": LogBuckets(0.01, 100),  # 10 ms to 138 s
    "latency": LogBuckets(0.05, 120),  # 50 ms to 77 min
    "throughput": LogBuckets(1.0, 80),  # 1 to 2,048 tokens per second
}
SHARES = (0.5, 0.75, 0.9, 0.95, 0.99)
_SLOWEST = tuple(round(1 - share, 2) for share in SHARES)  # the shares of samples that are slower
_AMOUNT_ROOM, _COUNT_ROOM, _FAULT_ROOM = 12, 16, 24  # places
_FAULTS_AT = _AMOUNT_ROOM + _COUNT_ROOM
_SKETCH_AT = {"ttft": _FAULTS_AT + _FAULT_ROOM, "latency": _FAULTS_AT + 124, "throughput": _FAULTS_AT + 244}
_PLACES = _FAULTS_AT + 324
_LAYOUT = Struct(f">{_AMOUNT_ROOM}q{_PLACES - _AMOUNT_ROOM}I")
SIZE = _LAYOUT.size  # bytes
HEAD_SIZE = 8 * _AMOUNT_ROOM + 4 * _COUNT_ROOM  # bytes: amounts and counts are at the start of a string
COUNT_PLACES = {name: _AMOUNT_ROOM + number for number, name in enumerate(COUNTS)}
FAULT_PLACES = {name: _FAULTS_AT + number for number, name in enumerate(FAULT_NAMES)}
_PLACE_OF = {**{name: number for number, name in enumerate(AMOUNTS)}, **COUNT_PLACES}
_LAST_INTEGER = SIZE // 8 - 1


def sample_place(sketch: str, value: float) -> int:
    """The place that counts this value."""
    return _SKETCH_AT[sketch] + SKETCHES[sketch].index(value)


def increments(amounts: Iterable[int], places: Iterable[int]) -> dict[int, int]:
    """What to add to each integer of 8 bytes: these amounts, in the order of `AMOUNTS`, and 1 for each of these places.

    The last integer is always among them, so that a string has its size from the start.
    """
    found = {number: amount for number, amount in enumerate(amounts) if amount}
    found[_LAST_INTEGER] = 0
    for place, count in Counter(places).items():
        integer = (place + _AMOUNT_ROOM) >> 1
        found[integer] = found.get(integer, 0) + (count if place & 1 else count << 32)
    return found


class Packed:
    """The integers of one series: of one bucket, or added up over several."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[int]) -> None:
        self._values = values

    def __repr__(self) -> str:
        return f"<Packed {self['requests']} requests, {self['attempts']} attempts>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and list(self._values) == list(other._values)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(cls, data: bytes) -> "Packed":
        """From a string of the store."""
        return cls(_LAYOUT.unpack(data.ljust(SIZE, b"\0")[:SIZE]))

    @classmethod
    def total(cls, parts: "Iterable[Packed]") -> "Packed":
        """The sum of these; all zero without any."""
        values: Sequence[int] = ()
        for part in parts:
            values = list(map(add, values, part._values)) if values else part._values
        return cls(values or (0,) * _PLACES)

    def without(self, part: "Packed") -> "Packed":
        """What is left without a part of it; never negative, as the part may have been read later."""
        return Packed([max(whole - own, 0) for whole, own in zip(self._values, part._values, strict=True)])

    def __getitem__(self, name: str) -> int:
        """An amount or a count."""
        return self._values[_PLACE_OF[name]]

    def fault(self, name: str) -> int:
        """Attempts that ended with this fault."""
        return self._values[FAULT_PLACES[name]]

    def samples(self, sketch: str) -> int:
        """How many samples a sketch has."""
        return sum(self._sketch(sketch))

    def quantiles(self, sketch: str) -> list[float | None]:
        """What each of `SHARES` of the samples does not exceed, or of throughput reaches; None without a sample."""
        shares = _SLOWEST if sketch == "throughput" else SHARES
        return SKETCHES[sketch].quantiles(shares, self._sketch(sketch))

    def _sketch(self, name: str) -> Sequence[int]:
        start = _SKETCH_AT[name]
        return self._values[start : start + SKETCHES[name].count]
