"""What comes back from the store: replies of any kind, and values that other versions or programs have written.

Gossip goes on with whatever it can read, or fails with an OSError; figures that were learned stay usable, so that a
plan is still made. Values of the caches are read or are a miss.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st

from gateway.cache import response_cache
from gateway.route.decide import make_plan
from gateway.route.fleet import Fleet
from gateway.state.measurements import Measurements
from gateway.state.prefixes import Prefixes
from gateway.state.presence import Presence
from gateway.telemetry.packed import Packed
from gateway.types import Policy
from tests.reliability.fuzzing.mutated import mutated_bytes, mutated_trees
from tests.reliability.fuzzing.target import Check, Target, as_json
from tests.route.world import attempt, endpoint, fail, request, teach
from tests.support.host import completion

MODEL, NOW = "m", 1_000.0


class Recorded:
    """A store that remembers what is written to it."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def execute(self, *command: Any) -> object:
        self.values += [part for part in command if isinstance(part, bytes)]
        return {"HGETALL": [], "XREAD": None}.get(command[0], 1)


def _worker() -> tuple[Fleet, list[Any]]:
    fleet = Fleet([endpoint("a"), endpoint("b")])
    fleets, clock = {MODEL: fleet}, lambda: NOW
    return fleet, [made(fleets, clock, b"me") for made in (Presence, Prefixes, Measurements)]


def _written() -> list[bytes]:
    """What a busy worker writes."""
    fleet, parts = _worker()
    store = Recorded()
    for number in range(5):
        attempt(fleet, "a", request(prefix=((number, 100), (number + 9, 200))), NOW)
    fail(fleet, attempt(fleet, "b", request(), NOW), "server", NOW)
    teach(fleet, "a", (0.5, 1.0), NOW)
    loop = asyncio.new_event_loop()
    try:
        for part in parts:
            loop.run_until_complete(part.share(store.execute, NOW))
    finally:
        loop.close()
    return [value for value in store.values if len(value) > 8]


WRITTEN = _written()
CACHED = {"v": response_cache.VERSION, "completion": completion("Hello"), "endpoint": "a", "at": 1.0}
WORDS = [b"\x80", b"\x90", b"\xc0", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"]
WORDS += [
    b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"1 1000000 ",
    b" ",
    b"\xdd",
]

values = st.one_of(mutated_bytes(WRITTEN, WORDS), st.binary(max_size=40))
scalars = st.one_of(
    values, st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([b"1-1", b"by", b"sent", b"x"])
)
entries = st.builds(
    lambda value, at: [at, [b"by", b"other", b"sent", value]],
    values,
    st.sampled_from([b"999000-0", b"1-1", b"x", b"-"]),
)
replies = st.one_of(
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=8),
    st.lists(entries, max_size=3).map(lambda some: [[b"gw:prefixes", some]]),
    st.lists(values, max_size=3).map(
        lambda some: [part for number, one in enumerate(some) for part in (b"w%d" % number, one)]
    ),
)
cached = st.one_of(
    mutated_trees([CACHED], (), ("choices", "message", "usage", "v")).map(as_json), st.binary(max_size=40)
)
inputs = st.tuples(st.lists(replies, min_size=1, max_size=4), cached, values)


@contextmanager
def _open() -> Iterator[Check]:
    loop = asyncio.new_event_loop()
    try:
        yield lambda given: loop.run_until_complete(_check(*given))
    finally:
        loop.close()


async def _check(said: list[Any], kept: bytes, packed: bytes) -> None:
    fleet, parts = _worker()
    teach(fleet, "a", (0.5, 1.0), NOW)
    left = list(said)

    async def execute(*_: Any) -> object:
        return left.pop() if left else None

    for part in parts:
        try:
            await part.share(execute, NOW)
        except OSError:
            continue
    plan = make_plan(request(), Policy(name="p"), fleet, NOW, 0, Random(0).random)
    assert len(plan.endpoints) == 2, "no endpoint is left"
    _check_cached(kept)
    msgspec.json.encode([Packed.of(packed).quantiles(name) for name in ("ttft", "throughput")])


def _check_cached(kept: bytes) -> None:
    answer = response_cache._decode(kept)
    if answer is not None:
        response_cache.fresh(answer, "gen-1", 1)
        response_cache.replay(response_cache.fresh(answer, "gen-1", 1), include_usage=True)


STORED = Target("store", inputs, _open, batch=300)
