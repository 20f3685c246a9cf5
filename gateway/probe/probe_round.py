"""One round over the endpoints of a model: a speed run and the canaries at each, then the comparison of fingerprints.

    for each endpoint:  speed run ─> canary ─> canary ... ─> greedy question      each paid for by the purse first
    at the end:         majority of the greedy answers ─> who differs

Only whole answers are judged: an attempt that fails counts as an error of the endpoint, not as a wrong answer. Where a
`Retry-After` holds, the gateway sends nothing, and the endpoint is left for a later round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import orjson

from gateway.probe import fingerprint
from gateway.probe.canary_question import Canary, Json
from gateway.probe.endpoint_record import EndpointRecord
from gateway.probe.probe_runner import ProbeRun, ProbeRunner
from gateway.probe.speed import speed_body, speed_run
from gateway.probe.worst_case import worst_case
from gateway.types import Endpoint, Model


class Purse(Protocol):
    """Pays for probes."""

    async def pay_for(self, most: int) -> bool:
        """Called before a request that costs `most` (1e-12 USD) at worst. False: it is not sent."""

    async def paid(self, cost: int) -> None:
        """Called after it, with the actual cost."""


class ProbeObserver(Protocol):
    """Is notified of results as they come."""

    def ran(self, endpoint: str, outcome: str) -> None: ...
    def judged(self, endpoint: str, canary: str, mistake: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class ProbeRound:
    """`records` get the results. `runs`: speed runs at each endpoint; `canaries`: those that may be sent."""

    runner: ProbeRunner
    purse: Purse
    observer: ProbeObserver
    records: Mapping[str, EndpointRecord]
    rng: Random
    canaries: Sequence[Canary]
    runs: int = 1
    _greedy: dict[str, str] = field(default_factory=dict)  # endpoint -> its greedy answer

    async def probe(self, model: Model, endpoint: Endpoint, greedy: Json | None) -> bool:
        """The speed runs and canaries of one endpoint. `greedy` is the round's question for fingerprints, if any. False
        where the purse did not pay for a speed run. Without a good one there are no canaries, and one that the purse
        does not pay for is left out."""
        record, good = self.records[endpoint.id], False
        for _ in range(self.runs):
            done = await self._run(speed_body(), model, endpoint)
            if done is None:
                return False
            record.ran(speed_run(done.row))
            self.observer.ran(endpoint.id, done.row.outcome)
            good = good or done.row.outcome == "ok"
        for canary in self.canaries if good else ():
            if record.rounds % canary.every == canary.every - 1:
                await self._ask(canary, model, endpoint)
        done = await self._run(greedy, model, endpoint) if good and greedy is not None else None
        if done is not None and done.answer is not None:
            self._greedy[endpoint.id] = done.answer.text
        return True

    def compare(self) -> None:
        """Judges the greedy answers of the round."""
        for endpoint, agrees in fingerprint.compared(self._greedy).items():
            self._judge(endpoint, fingerprint.NAME, None if agrees else f"differs: {self._greedy[endpoint]}")
        self._greedy.clear()

    async def _ask(self, canary: Canary, model: Model, endpoint: Endpoint) -> None:
        question = canary.ask(self.rng, endpoint)
        done = None if question is None else await self._run(question.body, model, endpoint)
        if question is None or done is None or done.answer is None:
            return
        row, answer = done.row, done.answer
        mistake = f"the call was {row.tools}" if row.tools not in ("", "ok") else question.check(answer)
        self._judge(endpoint.id, canary.name, mistake)
        if canary.tools and mistake and row.tools in ("", "ok"):  # else the fleet has learned it from the attempt
            state = self.runner.runtime.fleets[model.id].states.get(endpoint.id)
            if state is not None:
                state.called_tools(False, self.runner.runtime.clock())

    def _judge(self, endpoint: str, canary: str, mistake: str | None) -> None:
        self.records[endpoint].judged(canary, mistake, self.runner.runtime.wall_clock())
        self.observer.judged(endpoint, canary, mistake)

    async def _run(self, body: Json, model: Model, endpoint: Endpoint) -> ProbeRun | None:
        """None where the purse does not pay for it, or the gateway sent nothing because a `Retry-After` holds."""
        assert endpoint.price is not None
        if not await self.purse.pay_for(worst_case(endpoint.price, len(orjson.dumps(body)), body["max_tokens"])):
            return None
        done = await self.runner.run(body, model, endpoint)
        await self.purse.paid(done.row.cost)
        return done if done.row.endpoint else None
