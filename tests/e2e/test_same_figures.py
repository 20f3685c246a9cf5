"""One truth: the history of the page, metrics, `/api/v1` and the simulated hosts' own books agree on real traffic."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api import listing
from gateway.page import history
from gateway.sim.demofleet import FLEET
from gateway.sim.host import serving
from gateway.telemetry.ledger import read
from gateway.types import PICO, Price, Row
from tests.sim.world import CALM
from tests.support.gateway import DIRECT_ONLY, Gateway, Running, total
from tests.support.valkey import running as store_running

MODEL = "deepseek/deepseek-v3.2"
PRICE = Price(0.25, 0.5, 0.05)  # as `write_config` gives to each endpoint
HOSTS = [replace(host, rates=CALM, price=PRICE) for host in FLEET[:3]]
FAULTS = ["429", "500", "cut"]  # of the second host's first requests


@DIRECT_ONLY
async def test_all_say_the_same(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FRESH", 0.0)
    monkeypatch.setattr(history, "LEAST_REST", 0.0)
    monkeypatch.setattr(listing, "FRESH", 0.0)
    with store_running(tmp_path / "store") as url:
        async with serving(HOSTS, speed=20.0) as urls, gateway(urls, store=url, keep_reasoning=False) as running:
            await _steer(urls[HOSTS[1].id])
            for number in range(30):
                response = await running.chat(f"Question {number}", stream=number % 2 == 0, max_tokens=60)
                assert response.status_code == 200
            rows = list(read(running.folder / "ledger"))
            shown = await _until(running, lambda data: data["all"]["total"]["requests"] == 30)
            exposition = (await running.client.get("/metrics")).text
            listed = (await running.client.get(f"/api/v1/models/{MODEL}/endpoints")).json()["data"]["endpoints"]
            books = {name: await _books(url) for name, url in urls.items()}
    _check_requests(shown, exposition, rows)
    uptimes = {one["tag"]: one["uptime_last_5m"] for one in listed}
    for name in urls:
        _check_endpoint(name, shown["endpoints"].get(name), exposition, [one for one in rows if one.endpoint == name])
        _check_books(shown["endpoints"].get(name), books[name])
        own = shown["endpoints"].get(name)
        judged = own["total"]["judged"] if own else 0
        assert uptimes[name] == (pytest.approx(100 * own["total"]["ok"] / judged) if judged else None)


def _check_requests(shown: Any, exposition: str, rows: list[Row]) -> None:
    figures = shown["all"]["total"]
    assert figures["requests"] == figures["succeeded"] == total(exposition, "gateway_requests_total") == 30
    assert figures["attempts"] == len(rows) == total(exposition, "gateway_attempts_total")
    assert figures["cost_usd"] == pytest.approx(total(exposition, "gateway_cost_usd_total"))
    assert figures["latency"]["n"] == total(exposition, "gen_ai_server_request_duration_seconds_count")
    assert figures["ttft"]["n"] == total(exposition, "gen_ai_server_time_to_first_token_seconds_count")


def _check_endpoint(name: str, shown: Any, exposition: str, rows: list[Row]) -> None:
    def metric(metric: str, **labels: str) -> float:
        return total(exposition, metric, endpoint=name, **labels)

    assert metric("gateway_attempts_total") == len(rows)
    if not rows:
        assert shown is None
        return
    figures = shown["total"]
    assert figures["attempts"] == len(rows)
    assert figures["ok"] == metric("gateway_attempts_total", outcome="ok")
    assert figures["judged"] == metric("gateway_attempts_total")  # nothing was cancelled or rejected
    for kind in ("prompt", "cached", "completion", "reasoning"):
        assert figures[kind] == metric("gateway_tokens_total", kind=kind)
    assert figures["cost_usd"] == pytest.approx(metric("gateway_cost_usd_total"))
    assert figures["ttft"]["n"] == metric("gateway_attempt_ttft_seconds_count")
    assert figures["throughput"]["n"] == metric("gateway_attempt_throughput_tokens_per_second_count")
    ttfts = sorted(one.ttft for one in rows if one.ttft is not None)
    if ttfts:
        assert figures["ttft"]["p99"] == pytest.approx(ttfts[-1], rel=0.11, abs=0.011)


def _check_books(shown: Any, books: dict[str, int]) -> None:
    """The host's own: it counted the same requests, and billed the same tokens at the same price."""
    figures = (
        shown["total"] if shown else dict.fromkeys(("attempts", "ok", "completion", "prompt", "cached", "cost_usd"), 0)
    )
    assert figures["attempts"] == books["requests"]
    assert figures["ok"] == books["completed"]
    if not books["faults"]:  # what an answer that was cut has cost is an estimate
        assert figures["completion"] == books["tokens"]
        assert figures["prompt"] == books["prompt_tokens"]
        assert figures["cached"] == books["cached_tokens"]
        assert figures["cost_usd"] == pytest.approx(books["cost_pico_usd"] / PICO)


async def _until(running: Running, holds: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(60):
        while True:
            response = await running.client.get("/page/history.json", params={"model": MODEL, "range": "1h"})
            if response.status_code == 200 and holds(response.json()):
                return response.json()
            await asyncio.sleep(0.05)


async def _steer(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/_sim", json={"next": FAULTS})).status_code == 200


async def _books(url: str) -> dict[str, int]:
    async with httpx.AsyncClient(base_url=url) as client:
        books: dict[str, int] = (await client.get("/_sim")).json()
        return books
