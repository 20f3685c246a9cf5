"""Liveness and readiness of this worker."""

from time import monotonic
from typing import Annotated, Literal

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.intake.field_types import ApiObject, Count, json_answer
from gateway.intake.intake import Serving
from gateway.route.breaker import State
from gateway.state.conditions import Conditions
from gateway.state.store import Store


class Live(ApiObject):
    status: Literal["ok"] = "ok"


class Readiness(ApiObject):
    status: Literal["ok", "draining", "no endpoint in use", "no policy"]
    reasons: Annotated[list[str], Meta(description="why it is not ready, in words")]
    endpoints: Count
    breakers_open: list[str]
    store: Literal["up", "down"]
    config_problems: Annotated[list[str], Meta(description="why gateway.yaml on disk is not in force")]
    policy_problems: list[str]
    degraded: Annotated[dict[str, str], Meta(description="each failing part and its error")]


class Health:
    """`/health/live`: the process responds. `/health/ready`: requests can be routed.

    A store that is down and other failing parts are listed but do not make the worker unready: requests are served
    without them. Nor do open breakers: all replicas would become unready at once, and an open breaker lets requests
    through when there is no other endpoint.
    """

    def __init__(self, store: Store, conditions: Conditions) -> None:
        self._store = store
        self._conditions = conditions
        self.serving: Serving | None = None  # by the configuration in force; None before the start
        self.config_problems: tuple[str, ...] = ()
        self.draining = False

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.live, methods=["GET"]),
            Route("/health/live", self.live, methods=["GET"]),
            Route("/health/ready", self.ready, methods=["GET"]),
        ]

    async def live(self, _: Request) -> Response:
        return json_answer(Live())

    async def ready(self, _: Request) -> Response:
        now = monotonic()
        serving = self.serving
        assert serving is not None
        states = [state for fleet in serving.fleets.values() for state in fleet.states.values()]
        status, reasons = self._status(serving, len(states))
        readiness = Readiness(
            status=status,
            reasons=reasons,
            endpoints=len(states),
            breakers_open=[one.endpoint.id for one in states if one.breaker.state(now) is State.OPEN],
            store="up" if self._store.healthy else "down",
            config_problems=list(self.config_problems),
            policy_problems=list(serving.policies.problems),
            degraded=self._degraded(),
        )
        return json_answer(readiness, 503 if reasons else 200)

    def _status(
        self, serving: Serving, endpoints: int
    ) -> tuple[Literal["ok", "draining", "no endpoint in use", "no policy"], list[str]]:
        """The first reason why it is not ready as a word, and all reasons in words."""
        reasons = []
        if self.draining:
            reasons.append("the gateway is shutting down; it finishes the requests in flight")
        if not endpoints:
            reasons.append("no model has an endpoint in use; set the API key of one")
        no_policy = serving.default_policy not in serving.policies.current
        if no_policy:
            reasons.append(f"the default policy `{serving.default_policy}` is not loaded")
        if self.draining:
            return "draining", reasons
        return "no endpoint in use" if not endpoints else "no policy" if no_policy else "ok", reasons

    def _degraded(self) -> dict[str, str]:
        """Each failing part and its error."""
        store = {"store": self._store.problem} if self._store.problem else {}
        return {**store, **self._conditions.failing}
