"""Liveness and readiness of this worker."""

from collections.abc import Mapping
from time import monotonic
from typing import Annotated, Literal

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from gateway.intake.field_types import ApiObject, Count, json_answer
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet
from gateway.route.health import State
from gateway.state.conditions import Conditions
from gateway.state.store import Store


class Live(ApiObject):
    status: Literal["ok"] = "ok"


class Readiness(ApiObject):
    status: Literal["ok", "draining", "no endpoint in use"]
    endpoints: Count
    breakers_open: list[str]
    store: Literal["up", "down"]
    policy_problems: list[str]
    degraded: Annotated[dict[str, str], Meta(description="each failing part and its error")]


class Health:
    """`/health/live`: the process responds. `/health/ready`: at least one endpoint is in use.

    A store that is down and other failing parts are listed but do not make the worker unready: requests are served
    without them.
    """

    def __init__(self, fleets: Mapping[str, Fleet], store: Store, policies: Policies, conditions: Conditions) -> None:
        self._fleets = fleets
        self._store = store
        self._policies = policies
        self._conditions = conditions
        self.draining = False

    async def live(self, _: Request) -> Response:
        return json_answer(Live())

    async def ready(self, _: Request) -> Response:
        now = monotonic()
        states = [state for fleet in self._fleets.values() for state in fleet.states.values()]
        ready = bool(states) and not self.draining
        readiness = Readiness(
            status="ok" if ready else "draining" if self.draining else "no endpoint in use",
            endpoints=len(states),
            breakers_open=[one.endpoint.id for one in states if one.breaker.state(now) is State.OPEN],
            store="up" if self._store.healthy else "down",
            policy_problems=list(self._policies.problems),
            degraded=self._degraded(),
        )
        return json_answer(readiness, 200 if ready else 503)

    def _degraded(self) -> dict[str, str]:
        """Each failing part and its error."""
        store = {"store": self._store.problem} if self._store.problem else {}
        return {**store, **self._conditions.failing}
