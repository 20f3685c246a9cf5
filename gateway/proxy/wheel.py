"""Timers in slots: setting and cancelling cost one list operation, and the loop holds one timer, not one per stream.

A timer fires up to one slot (50 ms) late, never early. Clocks here are seconds long.
"""

import asyncio
from collections.abc import Callable

SLOT = 0.05


class Timer:
    """One call to come. `cancel` drops what it holds at once."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        if self._call is not None:
            call, self._call = self._call, None
            call()


class Wheel:
    """All timers of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Timer]] = {}
        self._turning: asyncio.TimerHandle | None = None
        self._done = 0  # the last slot that was fired

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        now = self._loop.time()
        if self._turning is None:
            self._done = int(now / SLOT)
            self._turning = self._loop.call_later(SLOT, self._turn)
        slot = max(int((now + seconds) / SLOT) + 1, self._done + 1)
        timer = Timer(call)
        self._slots.setdefault(slot, []).append(timer)
        return timer

    def _turn(self) -> None:
        self._turning = None
        now = int(self._loop.time() / SLOT)
        while self._done < now:
            self._done += 1
            for timer in self._slots.pop(self._done, ()):
                self._loop.call_soon(timer.fire)  # each on its own: one that raises does not hold up the others
        if self._slots:
            self._turning = self._loop.call_later(SLOT, self._turn)
