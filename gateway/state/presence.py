"""Shares live state every second: requests in flight, rates, breakers, and the token counts of caps.

    Fleet ──> Present of each endpoint, token counts of each policy ──> gw:{gossip}:present ──> the others' ──> Fleet
                                                                        hash: worker -> both

All workers learn of an open breaker within a second or two. While the store is down, each worker goes on with what it
knows: rates decay within a minute, token counts with the policy's window, rate limits and open breakers end at their
time. The others' requests in flight are forgotten after 10 s.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Annotated

import msgspec

from gateway.route.fleet import Fleet
from gateway.route.posted import Posted
from gateway.route.shared import FRESH, NOTHING, Present, merge_present, own_present
from gateway.route.toll import MOST_POLICIES, TokenCounts
from gateway.state.store_error import Execute
from gateway.state.worker_hash import WorkerHash
from gateway.types import Cap

KEY = "gw:{gossip}:present"
VERSION = 1

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
_Figure = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Capped(msgspec.Struct, array_like=True):
    """A `TokenCounts` on the wire. The lists hold one number for each of the model's `names`, without trailing
    zeros."""

    share: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    window: Annotated[float, msgspec.Meta(gt=0, le=1e12)]
    tokens: list[_Tokens]
    above: list[_Tokens]
    size: _Figure
    usd: _Figure

    @classmethod
    def of(cls, load: TokenCounts, names: list[str]) -> "Capped":
        tokens, above = (_listed(amounts, names) for amounts in (load.tokens, load.above))
        return cls(load.rule.share, load.rule.window, tokens, above, load.size, max(0.0, load.usd))

    def load(self, names: list[str]) -> TokenCounts:
        tokens, above = (dict(zip(names, amounts, strict=False)) for amounts in (self.tokens, self.above))
        return TokenCounts(Cap(self.share, self.window), tokens, above, self.size, self.usd)


class ModelPresence(msgspec.Struct, array_like=True):
    """What one worker publishes of one model."""

    names: list[str]  # endpoint ids
    endpoints: list[Present | None]  # one for each of the first names
    policies: Annotated[dict[str, Capped], msgspec.Meta(max_length=MOST_POLICIES)]


_decoder = msgspec.msgpack.Decoder(dict[str, ModelPresence])


class Presence:
    """What one worker publishes, as the field `me`, and reads."""

    def __init__(self, fleets: Mapping[str, Fleet], clock: Callable[[], float], me: bytes) -> None:
        self._fleets = fleets
        self._clock = clock
        self._board = WorkerHash(KEY, VERSION, me)
        self._others = 0
        self._read_at = inf

    def take(self, fleets: Mapping[str, Fleet]) -> None:
        self._fleets = fleets

    async def share(self, execute: Execute, at: float) -> None:
        """Publishes and reads. `at` is the store's time in seconds. OSError as `execute` raises it."""
        now = self._clock()  # the same moment as `at`
        await self._board.write(execute, msgspec.msgpack.encode(self._own(now)), at)
        others = list(_decoded(await self._board.read(execute, at)))
        before, self._others, self._read_at = self._others, len(others), now
        for model, fleet in self._fleets.items() if others or before else ():  # most gateways have one worker
            await _merge(fleet, [one.of(one.value.get(model) or ModelPresence([], [], {})) for one in others], now)

    def forget(self) -> None:
        """While the store is down: forgets the others' requests in flight once they are older than FRESH."""
        if self._clock() - self._read_at > FRESH:
            for fleet in self._fleets.values():
                for state in fleet.states.values():
                    state.shares(None, self._others)

    def _own(self, now: float) -> dict[str, ModelPresence]:
        found = {}
        for model, fleet in self._fleets.items():
            loads = fleet.tolls.own(now)
            known = {name: own_present(state, now) for name, state in fleet.states.items()}
            names = list(dict.fromkeys([*known, *(name for load in loads.values() for name in load.tokens)]))
            policies = {policy: Capped.of(load, names) for policy, load in loads.items()}
            found[model] = ModelPresence(names, list(known.values()), policies)
        return found


async def _merge(fleet: Fleet, others: list[Posted[ModelPresence]], now: float) -> None:
    endpoints = [one.of(dict(zip(one.value.names, one.value.endpoints, strict=False))) for one in others]
    for name, state in fleet.states.items():
        merge_present(state, [one.of(one.value.get(name) or NOTHING) for one in endpoints], now)
        await asyncio.sleep(0)  # yield to requests
    loads: dict[str, list[Posted[TokenCounts]]] = {policy: [] for policy in fleet.tolls.policies}
    for one in others:
        for policy, capped in one.value.policies.items():
            loads.setdefault(policy, []).append(one.of(capped.load(one.value.names)))
    for policy, sent in loads.items():
        fleet.tolls.merge(policy, sent, now)
        await asyncio.sleep(0)


def _decoded(values: list[Posted[bytes]]) -> Iterator[Posted[dict[str, ModelPresence]]]:
    """The values that can be decoded."""
    for one in values:
        try:
            yield one.of(_decoder.decode(one.value))
        except ValueError:
            continue


def _listed(amounts: Mapping[str, float], names: list[str]) -> list[int]:
    listed = [round(amounts.get(name, 0.0)) for name in names]
    while listed and not listed[-1]:
        listed.pop()
    return listed
