"""Scheduled probes in a running gateway, with simulated hosts as servers and a real store."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from gateway.sim.demofleet import gateway_config
from gateway.sim.flaws import Flaws
from gateway.sim.host import serving
from gateway.sim.sim_host import MODEL
from gateway.telemetry.ledger import read
from gateway.types import PICO, PROBE
from tests.probe.lab import STEADY
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers

HOSTS = STEADY
WORSE = HOSTS[1].id
NOTHING = {"n": 0, "p50": None, "p75": None, "p90": None, "p95": None, "p99": None}
pytestmark = DIRECT_ONLY


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.probe.prober.LOOK_EVERY", 0.01)


@asynccontextmanager
async def probing(
    tmp: Path, gateway: Gateway, store: str, flaws: Mapping[str, Flaws] | None = None, **probes: str
) -> AsyncIterator[Running]:
    """A gateway in front of the hosts, with these settings of `probes:`."""
    with redis.Redis.from_url(store) as client:
        client.flushdb()
    async with serving(HOSTS, speed=0, flaws=flaws) as addresses:
        config = tmp / "gateway.yaml"
        config.write_text(yaml.safe_dump(yaml.safe_load(gateway_config(addresses)) | {"probes": probes}))
        async with gateway({}, store=store, config=config) as running:
            yield running


async def results(running: Running) -> dict[str, Any]:
    return dict((await running.client.get("/page/probes.json", params={"model": MODEL})).json())


async def after_a_round(running: Running) -> dict[str, Any]:
    async with asyncio.timeout(250):
        while True:
            found = await results(running)
            if len([one for one in found["endpoints"].values() if one["last"]]) == len(HOSTS) and any(
                "fingerprint" in one["canaries"] for one in found["endpoints"].values()
            ):
                return found
            await asyncio.sleep(0.05)


async def probed_tools(running: Running) -> dict[str, Any]:
    """What OpenRouter's list of endpoints says of probes of tool calls."""
    async with asyncio.timeout(60):  # results are kept for some seconds
        while True:
            listed = (await running.client.get(f"/api/v1/models/{MODEL}/endpoints")).json()["data"]["endpoints"]
            found = {
                one["tag"]: source
                for one in listed
                for capability in one["capabilities"]
                for source in capability["sources"]
                if (capability["name"], source["source"]) == ("tools", "probes")
            }
            if len(found) == len(HOSTS):
                return found
            await asyncio.sleep(0.05)


async def test_a_round_is_on_the_page_in_the_ledger_and_in_the_metrics(
    tmp_path: Path, gateway: Gateway, valkey: str
) -> None:
    async with probing(tmp_path, gateway, valkey, {WORSE: Flaws(tools=1.0)}, usd_per_day="$1") as running:
        found = await after_a_round(running)
        rows = list(read(running.folder / "ledger"))
        assert {(row.tenant, row.app, row.policy) for row in rows} == {(PROBE,) * 3}
        cost = sum(row.cost for row in rows) / PICO
        assert found["budget"] == {"usd_per_day": 1.0, "spent_today": cost}
        worse, sound = found["endpoints"][WORSE], found["endpoints"][HOSTS[0].id]
        assert worse["canaries"]["tool_call"]["passed"] == 0
        assert worse["canaries"]["tool_call"]["mistake"] == "the call was not_json"
        assert sound["canaries"]["tool_call"]["passed"] == sound["canaries"]["tool_call"]["of"] == 1
        assert (sound["score"], sound["rank"], worse["rank"]) == (1.0, 1, len(HOSTS))
        assert sound["of"] == sound["ttft"]["n"] == 1
        assert {name: one["supported"] for name, one in (await probed_tools(running)).items()} == {
            host.id: host.id != WORSE for host in HOSTS
        }
        assert await running.metric("gateway_probe_runs_total", endpoint=WORSE) == 1
        assert await running.metric("gateway_probe_canaries_total", endpoint=WORSE, result="failed") == 1
        assert await running.metric("gateway_probe_spent_usd_total") > 0
        assert await running.metric("gateway_probe_budget_usd_per_day") == 1
        assert await running.metric("gateway_attempts_total", endpoint=WORSE, outcome="ok") > 0
        assert await running.metric("gateway_requests_total") == 0


async def test_probes_are_off_by_default_and_the_page_says_so(gateway: Gateway, valkey: str) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}, store=valkey) as running:
        found = await results(running)
        assert found["budget"]["usd_per_day"] == 0
        assert found["endpoints"]["a/fp8"] == {
            "last": None,
            "runs": [],
            "errors": 0,
            "of": 0,
            "ttft": NOTHING,
            "throughput": NOTHING,
            "canaries": {},
            "score": None,
            "rank": None,
        }
        assert await running.metric("gateway_probe_budget_usd_per_day") == 0
        unknown = await running.client.get("/page/probes.json", params={"model": "m"})
        first = await running.client.get("/page/probes.json")
        assert (unknown.status_code, first.status_code) == (404, 200), (
            "without a name it is the first model, as everywhere"
        )


async def test_without_the_store_nothing_is_known_and_nothing_is_sent(tmp_path: Path, gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(500, {})) as host,
        gateway({"a/fp8": host.url}, probes={"usd_per_day": "$1", "interval": "1m"}) as running,
    ):
        assert await results(running) == {"budget": {"usd_per_day": 1.0, "spent_today": None}, "endpoints": {}}
        assert host.requests == []
