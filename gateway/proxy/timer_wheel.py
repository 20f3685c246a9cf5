"""Timers in slots: setting and cancelling cost one dict operation, and the loop holds one timer, not one per stream.

A timer fires up to one slot (50 ms) late, never early. Timeouts here last seconds.
"""

import asyncio
from collections.abc import Callable

import msgspec

SLOT = 0.05
Slot = dict["Timer", None]  # in the order in which they were set


class Timer(msgspec.Struct, eq=False):
    """One call to come. `cancel` drops what it holds, and the timer itself, at once."""

    _call: Callable[[], None] | None
    _slot: Slot

    def cancel(self) -> None:
        self._call = None
        self._slot.pop(self, None)

    def fire(self) -> None:
        if self._call is not None:
            call, self._call = self._call, None
            call()


class TimerWheel:
    """All timers of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, Slot] = {}
        self._turning: asyncio.TimerHandle | None = None
        self._done = 0  # the last slot that was fired

    def __repr__(self) -> str:
        return f"<Wheel {len(self)} timers>"

    def __len__(self) -> int:
        """Timers that are set."""
        return sum(map(len, self._slots.values()))

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        now = self._loop.time()
        if self._turning is None:
            self._done = int(now / SLOT)
            self._turning = self._loop.call_later(SLOT, self._turn)
        number = int((now + seconds) / SLOT) + 1
        if number <= self._done:
            number = self._done + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
        timer = Timer(call, slot)
        slot[timer] = None
        return timer

    def soon(self, call: Callable[[], None]) -> None:
        """Calls in the next iteration of the event loop."""
        self._loop.call_soon(call)

    def close(self) -> None:
        """No timer fires any more."""
        self._slots.clear()
        if self._turning is not None:
            self._turning.cancel()
            self._turning = None

    def _turn(self) -> None:
        self._turning = None
        now = int(self._loop.time() / SLOT)
        while self._done < now:
            self._done += 1
            slot = self._slots.pop(self._done, None)
            if slot:
                timers = list(slot)
                slot.clear()  # timers and slot would hold each other
                for timer in timers:
                    self._loop.call_soon(timer.fire)  # on its own: one that raises does not hold up the others
        if self._slots:
            self._turning = self._loop.call_later(SLOT, self._turn)
