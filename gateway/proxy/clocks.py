"""The clocks of one exchange: one for each attempt, by its number, and its own by name."""

from collections.abc import Callable

from gateway.proxy.wheel import Timer, Wheel


class Clocks:
    """Setting a clock that runs replaces it."""

    __slots__ = ("_timers", "_wheel")

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._timers: dict[int | str, Timer] = {}

    def set(self, name: int | str, seconds: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self.stop(name)
        self._timers[name] = self._wheel.after(seconds, call)

    def stop(self, name: int | str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
