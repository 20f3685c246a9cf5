"""Readiness says whether requests can be routed, as a word for programs and in sentences for people."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.intake.intake import Serving
from gateway.server.worker_server import WORKER
from tests.support.gateway import DIRECT_ONLY, Gateway

NO_ENDPOINT = "no model has an endpoint in use; set the API key of one"
NO_POLICY = "the default policy `gone` is not loaded"
Change = Callable[[Serving], Serving]


def as_it_is(serving: Serving) -> Serving:
    return serving


def without_endpoints(serving: Serving) -> Serving:
    return replace(serving, fleets={})


def without_policy(serving: Serving) -> Serving:
    return replace(serving, default_policy="gone")


@DIRECT_ONLY  # Starlette's answer over either sink
@pytest.mark.parametrize(
    ("change", "code", "status", "reasons"),
    [
        (as_it_is, 200, "ok", []),
        (without_endpoints, 503, "no endpoint in use", [NO_ENDPOINT]),
        (without_policy, 503, "no policy", [NO_POLICY]),
        (
            lambda serving: without_policy(without_endpoints(serving)),
            503,
            "no endpoint in use",
            [NO_ENDPOINT, NO_POLICY],
        ),
    ],
    ids=["ready", "no endpoint", "no policy", "neither"],
)
async def test_why_it_is_not_ready(
    change: Change, code: int, status: str, reasons: list[str], gateway: Gateway
) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        assert running.server is not None
        health = running.server.lifespan.state[WORKER].health
        health.serving = change(health.serving)
        answer = await running.client.get("/health/ready")
        found: dict[str, Any] = answer.json()
        assert (answer.status_code, found["status"], found["reasons"]) == (code, status, reasons)
        assert (await running.client.get("/health/live")).json() == {"status": "ok"}
