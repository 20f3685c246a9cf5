"""Timers go off never early and at most a slot late, each on its own, and cancelled ones not at all."""

import asyncio

from gateway.proxy.clocks import Clocks
from gateway.proxy.wheel import SLOT, Wheel


async def test_timers_go_off_in_order_and_never_early() -> None:
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop)
    done: list[tuple[float, float]] = []
    start = loop.time()
    ended = asyncio.Event()
    for seconds in (0.12, 0.0, 0.06, 0.18):
        wheel.after(seconds, lambda seconds=seconds: done.append((seconds, loop.time() - start)))  # type: ignore[misc]
    wheel.after(0.2, ended.set)
    await asyncio.wait_for(ended.wait(), 10)
    assert [due for due, _ in done] == [0.0, 0.06, 0.12, 0.18]
    assert all(after >= due for due, after in done)


async def test_a_cancelled_timer_does_not_go_off() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    heard: list[str] = []
    ended = asyncio.Event()
    wheel.after(0.01, lambda: heard.append("cancelled")).cancel()
    wheel.after(0.01, lambda: heard.append("kept"))
    wheel.after(SLOT, ended.set)
    await asyncio.wait_for(ended.wait(), 10)
    assert heard == ["kept"]


async def test_a_cancelled_timer_is_dropped_at_once() -> None:
    """Most timers are cancelled long before they are due."""
    wheel = Wheel(asyncio.get_running_loop())
    kept = wheel.after(60.0, lambda: None)
    for _ in range(1_000):
        wheel.after(60.0, lambda: None).cancel()
    assert len(wheel) == 1
    kept.cancel()
    kept.cancel()
    assert len(wheel) == 0


async def test_a_wheel_that_is_closed_fires_nothing() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    heard: list[str] = []
    wheel.after(0.0, lambda: heard.append("late"))
    wheel.close()
    await asyncio.sleep(3 * SLOT)
    assert heard == []


async def test_a_timer_that_raises_does_not_hold_up_the_others() -> None:
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop)
    raised: list[object] = []
    loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
    ended = asyncio.Event()
    wheel.after(0.01, lambda: 1 // 0)
    wheel.after(0.01, ended.set)
    await asyncio.wait_for(ended.wait(), 10)
    assert [type(one) for one in raised] == [ZeroDivisionError]


async def test_a_timer_may_set_the_next() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    ended = asyncio.Event()
    wheel.after(0.0, lambda: wheel.after(0.0, ended.set) and None)
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_clock_that_is_set_again_runs_once() -> None:
    clocks = Clocks(Wheel(asyncio.get_running_loop()))
    heard: list[str] = []
    ended = asyncio.Event()
    clocks.set("gap", 0.0, lambda: heard.append("first"))
    clocks.set("gap", 0.0, lambda: heard.append("second"))
    clocks.set("keepalive", 0.0, lambda: heard.append("stopped"))
    clocks.stop("keepalive")
    clocks.set("end", SLOT, ended.set)
    await asyncio.wait_for(ended.wait(), 10)
    assert heard == ["second"]
    clocks.set("gap", 0.0, lambda: heard.append("closed"))
    clocks.close()
    await asyncio.sleep(3 * SLOT)
    assert heard == ["second"]
