"""A worker whose event loop is late for a while takes fewer requests, and more again when it is not."""

import asyncio

from gateway.server.admission import Admission
from gateway.server.loop_lag import LATE, LOOKS, LoopLag


def loaded(requests: int = 1_000) -> tuple[Admission, LoopLag]:
    load = Admission(10_000, 1 << 30, lambda _: None)
    for _ in range(requests):
        assert load.enter(b"", 0)
    return load, LoopLag(load, lambda: 0.0)


def test_late_for_a_while_slows_down() -> None:
    load, lag = loaded()
    for _ in range(LOOKS - 1):
        lag.look(LATE * 2)
        assert load.enter(b"", 0)
    lag.look(LATE * 2)
    assert not load.enter(b"", 0)


def test_one_long_step_does_not() -> None:
    """Parsing a large body, a collection of garbage, a machine that paused."""
    load, lag = loaded()
    for _ in range(100):
        lag.look(30.0)
        lag.look(0.0)
    assert not load.slowed


def test_on_time_again_it_takes_more_again() -> None:
    load, lag = loaded()
    for _ in range(LOOKS):
        lag.look(1.0)
    assert load.slowed
    for _ in range(500):
        lag.look(0.01)
    assert not load.slowed


def test_the_worst_is_kept_until_it_is_read() -> None:
    _, lag = loaded(0)
    for seconds in (0.01, 0.5, 0.02):
        lag.look(seconds)
    assert [lag.take_worst(), lag.take_worst()] == [0.5, 0.0]


async def test_it_looks_by_itself() -> None:
    times = iter([0.0, 0.9, 0.9, 1.0, 1.0, 1.0])
    load = Admission(10_000, 1 << 30, lambda _: None)
    seen: list[float] = []

    class Seen(LoopLag):
        def look(self, lag: float) -> None:
            seen.append(round(lag, 3))

    task = asyncio.create_task(Seen(load, lambda: next(times, 1.0)).watch())
    async with asyncio.timeout(60):
        while len(seen) < 2:
            await asyncio.sleep(0)
    task.cancel()
    assert seen[:2] == [0.8, 0.0]
