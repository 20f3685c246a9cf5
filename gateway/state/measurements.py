"""What the other workers measured of the endpoints: each writes its own samples, and readers put them together.

    EndpointState.measured ──every 5 s──> gw:measured ──> what others measured ──> EndpointState.heard
                                          hash: worker -> time and samples

What is read replaces what was read before, and only own samples are written: nothing is counted twice, however often
it is read. A worker that writes no more is forgotten after a minute.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf

import msgspec

from gateway.route.fleet import Fleet
from gateway.route.measured import Measured
from gateway.state.resp import Ask, StoreError

KEY = "gw:measured"
EVERY = 5.0  # seconds
KEPT = 60  # seconds that a worker's samples are used without being written again

_Told = dict[str, dict[str, Measured]]  # model -> endpoint -> samples
_decoder = msgspec.msgpack.Decoder(_Told)


class Measurements:
    """What one worker tells and hears, under its name `me`."""

    def __init__(self, fleets: Mapping[str, Fleet], clock: Callable[[], float], me: bytes) -> None:
        self._fleets = fleets
        self._clock = clock
        self._me = me
        self._due = -inf

    async def share(self, ask: Ask, at: int) -> None:
        """Tell and take in, when that is due. `at` is the store's time in seconds. OSError as `ask` raises it."""
        if self._clock() < self._due:
            return
        await ask("HSET", KEY, self._me, b"%d " % at + await self._measured())
        await ask("EXPIRE", KEY, KEPT)
        fresh, stale = _sorted(await ask("HGETALL", KEY), at)
        fresh.pop(self._me, None)
        await self._hear(list(fresh.values()))
        if stale:
            await ask("HDEL", KEY, *stale)
        self._due = self._clock() + EVERY

    async def _measured(self) -> bytes:
        told: _Told = {}
        for model, fleet in self._fleets.items():
            told[model] = {}
            for name, state in fleet.states.items():
                told[model][name] = state.measured(self._clock())
                await asyncio.sleep(0)  # requests go first
        return msgspec.msgpack.encode(told)

    async def _hear(self, told: list[tuple[bytes, int]]) -> None:
        """Take in each other worker's samples, with how many seconds ago they were written."""
        others: list[tuple[_Told, int]] = []
        for samples, age in told:
            try:
                others.append((_decoder.decode(samples), age))
            except msgspec.MsgspecError:
                continue  # of another version
            await asyncio.sleep(0)
        for model, fleet in self._fleets.items():
            for name, state in fleet.states.items():
                all_of_it = [(told[model][name], age) for told, age in others if name in told.get(model, ())]
                state.heard(all_of_it, self._clock())
                await asyncio.sleep(0)


def _sorted(reply: object, at: int) -> tuple[dict[bytes, tuple[bytes, int]], list[bytes]]:
    """The workers' samples with their ages in seconds, and the names of those that are too old or have no time."""
    if not isinstance(reply, list) or not all(isinstance(part, bytes) for part in reply):
        raise StoreError("what answers HGETALL is no store")
    fresh: dict[bytes, tuple[bytes, int]] = {}
    stale: list[bytes] = []
    for name, value in zip(reply[::2], reply[1::2], strict=False):
        written, _, samples = value.partition(b" ")
        if written.isdigit() and len(written) < 20 and abs(at - int(written)) <= KEPT:
            fresh[name] = samples, max(0, at - int(written))
        else:
            stale.append(name)
    return fresh, stale
