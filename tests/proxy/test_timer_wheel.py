"""Timers go off never early and at most a slot late, each on its own, and cancelled ones not at all."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from gateway.proxy import timer_wheel
from gateway.proxy.timer_wheel import SLOT, TimerWheel


async def test_timers_go_off_in_order_and_never_early() -> None:
    loop = asyncio.get_running_loop()
    wheel = TimerWheel(loop)
    done: list[tuple[float, float]] = []
    start = loop.time()
    ended = asyncio.Event()
    for seconds in (0.12, 0.0, 0.06, 0.18):
        wheel.after(seconds, lambda seconds=seconds: done.append((seconds, loop.time() - start)))  # type: ignore[misc]
    wheel.after(0.2, ended.set)
    await asyncio.wait_for(ended.wait(), 60)
    assert [due for due, _ in done] == [0.0, 0.06, 0.12, 0.18]
    assert all(after >= due for due, after in done)


async def test_a_cancelled_timer_does_not_go_off() -> None:
    wheel = TimerWheel(asyncio.get_running_loop())
    heard: list[str] = []
    ended = asyncio.Event()
    wheel.after(0.01, lambda: heard.append("cancelled")).cancel()
    wheel.after(0.01, lambda: heard.append("kept"))
    wheel.after(SLOT, ended.set)
    await asyncio.wait_for(ended.wait(), 60)
    assert heard == ["kept"]


async def test_a_cancelled_timer_is_dropped_at_once() -> None:
    """Most timers are cancelled long before they are due."""
    wheel = TimerWheel(asyncio.get_running_loop())
    kept = wheel.after(60.0, lambda: None)
    for _ in range(1_000):
        wheel.after(60.0, lambda: None).cancel()
    assert len(wheel) == 1
    kept.cancel()
    kept.cancel()
    assert len(wheel) == 0


async def test_a_wheel_that_is_closed_fires_nothing() -> None:
    wheel = TimerWheel(asyncio.get_running_loop())
    heard: list[str] = []
    wheel.after(0.0, lambda: heard.append("late"))
    wheel.close()
    await asyncio.sleep(3 * SLOT)
    assert heard == []


async def test_a_timer_that_raises_does_not_hold_up_the_others() -> None:
    loop = asyncio.get_running_loop()
    wheel = TimerWheel(loop)
    raised: list[object] = []
    loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
    ended = asyncio.Event()
    wheel.after(0.01, lambda: 1 // 0)
    wheel.after(0.01, ended.set)
    await asyncio.wait_for(ended.wait(), 60)
    assert [type(one) for one in raised] == [ZeroDivisionError]


async def test_a_timer_may_set_the_next() -> None:
    wheel = TimerWheel(asyncio.get_running_loop())
    ended = asyncio.Event()
    wheel.after(0.0, lambda: wheel.after(0.0, ended.set) and None)
    await asyncio.wait_for(ended.wait(), 60)


class Loop:
    """A loop whose clock stands still until the test moves it."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> "Loop":
        self.later.append((self.now + delay, call))
        return self

    def call_soon(self, call: Callable[[], None]) -> None:
        call()

    def run(self, seconds: float) -> int:
        """Lets time pass; returns how many turns that took."""
        end, turns = self.now + seconds, 0
        while self.later and self.later[0][0] <= end:
            self.now, call = self.later.pop(0)
            call()
            turns += 1
        self.now = end
        return turns


@pytest.mark.parametrize("uptime", [0.0, 0.06, 86_400.0, 1e9])
def test_a_timer_goes_off_on_time_however_long_the_machine_is_up(uptime: float) -> None:
    """And a turn takes no longer: it looks at the slots since the last one, not at all since the machine started."""
    loop = Loop(uptime)
    wheel = TimerWheel(cast(asyncio.AbstractEventLoop, loop))
    at: list[float] = []
    wheel.after(1.0, lambda: at.append(loop.now - uptime))
    assert loop.run(5.0) <= 1.0 / SLOT + 2
    assert at == [pytest.approx(1.0, abs=2 * SLOT)]
    assert at[0] >= 1.0 - 1e-6
    assert len(wheel) == 0


@pytest.mark.parametrize(
    ("seconds", "at"), [(0.0, 0.25), (0.12, 0.25), (0.13, 0.5), (0.37, 0.5), (0.38, 0.75), (9.0, 9.25)]
)
def test_a_timer_goes_off_at_the_first_turn_behind_its_slot(
    seconds: float, at: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With slots of a quarter of a second, which floats represent exactly; the clock stands in the middle of one."""
    monkeypatch.setattr(timer_wheel, "SLOT", 0.25)
    loop = Loop(100.125)
    wheel = TimerWheel(cast(asyncio.AbstractEventLoop, loop))
    done: list[float] = []
    wheel.after(seconds, lambda: done.append(loop.now - 100.125))
    loop.run(20.0)
    assert done == [at]


def test_a_wheel_without_timers_does_not_turn() -> None:
    loop = Loop(0.0)
    wheel = TimerWheel(cast(asyncio.AbstractEventLoop, loop))
    wheel.after(0.0, lambda: None)
    assert len(wheel) == 1
    loop.run(1.0)
    assert loop.later == []
    wheel.after(0.0, lambda: None)
    assert len(loop.later) == 1
    wheel.after(9.0, lambda: None)
    assert len(loop.later) == 1, "one timer of the loop for all"


def test_timers_of_slots_that_a_busy_loop_missed_go_off_in_their_order() -> None:
    loop = Loop(0.0)
    wheel = TimerWheel(cast(asyncio.AbstractEventLoop, loop))
    done: list[float] = []
    for seconds in (0.3, 0.1, 0.2, 5.0):
        wheel.after(seconds, lambda seconds=seconds: done.append(seconds))  # type: ignore[misc]
    loop.later[0] = (3.0, loop.later[0][1])
    assert loop.run(3.5) == 11
    assert (done, len(wheel)) == ([0.1, 0.2, 0.3], 1)
