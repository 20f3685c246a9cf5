"""Shares measurements of endpoints, prompts and answers: each worker publishes its own samples, readers add them up.

    Fleet ──> samples ──every 5 s──> gw:{gossip}:learned ──> the samples of the others ──> Fleet
                                     hash: worker -> samples

A worker writes only its own samples, so nothing is counted twice.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Annotated

import msgspec

from gateway.route.fleet import Fleet
from gateway.route.posted import Posted
from gateway.route.shared import Counts, Measured, Shares, merge_measured, own_measured
from gateway.state.store_error import Execute
from gateway.state.worker_hash import WorkerHash

KEY = "gw:{gossip}:learned"
VERSION = 1
EVERY = 5.0  # seconds
KINDS = 4  # of requests: with or without thinking, with or without tools


class Learned(msgspec.Struct, array_like=True):
    """One worker's samples of one model: of each endpoint, of tokens per byte of prompt, of answer lengths."""

    endpoints: dict[str, Measured]
    tokens: tuple[Shares, Shares]
    lengths: Annotated[list[Counts], msgspec.Meta(min_length=KINDS, max_length=KINDS)]


_decoder = msgspec.msgpack.Decoder(dict[str, Learned])


class Measurements:
    """What one worker publishes, as the field `me`, and reads."""

    def __init__(self, fleets: Mapping[str, Fleet], clock: Callable[[], float], me: bytes) -> None:
        self._fleets = fleets
        self._clock = clock
        self._board = WorkerHash(KEY, VERSION, me)
        self._next_at = -inf

    def take(self, fleets: Mapping[str, Fleet]) -> None:
        self._fleets = fleets

    async def share(self, execute: Execute, at: float) -> None:
        """Publishes and reads, every 5 s. `at` is the store's time in seconds. OSError as `execute` raises it."""
        if self._clock() < self._next_at:
            return
        await self._board.write(execute, await self._own(), at)
        others = await self._decoded(await self._board.read(execute, at))
        for model, fleet in self._fleets.items():
            await self._merge(fleet, [one.of(one.value[model]) for one in others if model in one.value])
        self._next_at = self._clock() + EVERY

    async def _own(self) -> bytes:
        found = dict[str, Learned]()
        for model, fleet in self._fleets.items():
            now, endpoints = self._clock(), dict[str, Measured]()
            lengths = [one.own(now) for one in fleet.lengths.values()]
            found[model] = Learned(endpoints, fleet.tokens.own(now), lengths)
            for name, state in fleet.states.items():
                endpoints[name] = own_measured(state, self._clock())
                await asyncio.sleep(0)  # yield to requests
        return msgspec.msgpack.encode(found)

    async def _decoded(self, values: list[Posted[bytes]]) -> list[Posted[dict[str, Learned]]]:
        """The values that can be decoded."""
        found = list[Posted[dict[str, Learned]]]()
        for one in values:
            try:
                found.append(one.of(_decoder.decode(one.value)))
            except ValueError:
                continue
            await asyncio.sleep(0)
        return found

    async def _merge(self, fleet: Fleet, others: list[Posted[Learned]]) -> None:
        now = self._clock()
        fleet.tokens.merge([one.of(one.value.tokens) for one in others], now)
        for place, lengths in enumerate(fleet.lengths.values()):
            lengths.merge([one.of(one.value.lengths[place]) for one in others], now)
        for name, state in fleet.states.items():
            measured = [(one.value.endpoints[name], one.age) for one in others if name in one.value.endpoints]
            merge_measured(state, measured, self._clock())
            await asyncio.sleep(0)
