"""OpenRouter's lists. These routes are Starlette's over either sink, so one of them is enough."""

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from gateway.api import listing
from gateway.api.listing import Listing, Probed
from gateway.intake.auth import Keys
from gateway.route.fleet import Fleet
from gateway.telemetry.archive import Archive, Uptime
from gateway.telemetry.series import Series
from gateway.types import Endpoint, Model, Price
from gateway.types.capability_claims import NO_CLAIMS, CapabilityClaims
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers, chunks, streams

pytestmark = DIRECT_ONLY
HOSTS = {"own/fp8": "http://127.0.0.1:1", "other/fp4": "http://127.0.0.1:1"}
ENDPOINT = {
    "name": "Own",
    "supports": ["tools", "json_schema", "seed"],
    "max_output": 8_000,
    "data": {"zdr": "yes"},
    "dialect": {"thinking": "thinking.type", "drop": ["stop"]},
}


async def told(running: Running, path: str, status: int = 200, **query: Any) -> Any:
    answer = await running.client.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_the_models(gateway: Gateway) -> None:
    async with gateway(HOSTS, endpoint=ENDPOINT) as running:
        listed = await told(running, "models")
        (model,) = listed["data"]
        one = await told(running, "model/deepseek/deepseek-v3.2")
        count = await told(running, "models/count")
    assert (listed["total_count"], listed["links"]) == (1, {"next": None})
    assert one == {"data": model}
    assert count == {"data": {"count": 1}}
    assert model["pricing"] == {
        "prompt": "0.00000025",
        "completion": "0.0000005",
        "input_cache_read": "0.00000005",
        "discount": 0,
    }
    assert model["top_provider"] == {"context_length": 163_840, "max_completion_tokens": 8_000, "is_moderated": False}
    assert {"tools", "structured_outputs", "reasoning", "temperature"} <= set(model["supported_parameters"])
    assert "stop" not in model["supported_parameters"]
    assert model["links"]["details"] == "/api/v1/models/deepseek/deepseek-v3.2/endpoints"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "SEEK"}, 1),
        ({"q": "llama"}, 0),
        ({"supported_parameters": "tools,seed"}, 1),
        ({"supported_parameters": "tools,top_a"}, 0),
        ({"limit": "1"}, 1),
        ({"limit": "1000"}, 1),
        ({"offset": "0"}, 1),
        ({"offset": "1"}, 0),
    ],
)
async def test_filters(gateway: Gateway, query: dict[str, str], found: int) -> None:
    async with gateway(HOSTS, endpoint=ENDPOINT) as running:
        assert len((await told(running, "models", **query))["data"]) == found


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"offset": "-1"}, {"offset": "9" * 5_000}]
)
async def test_pages_that_are_none(gateway: Gateway, query: dict[str, str]) -> None:
    async with gateway(HOSTS) as running:
        error = await told(running, "models", 400, **query)
    assert "must be a whole number" in error["error"]["message"]


async def test_a_name_with_a_policy_is_the_model(gateway: Gateway) -> None:
    async with gateway(HOSTS) as running:
        assert (await told(running, "model/deepseek/deepseek-v3.2:nitro"))["data"]["id"] == "deepseek/deepseek-v3.2"
        assert "there is no model" in str(await told(running, "model/deepseek/v9", 404))
        assert "there is no model" in str(await told(running, "models/deepseek/v9/endpoints", 404))


async def test_endpoints_before_any_traffic(gateway: Gateway) -> None:
    async with gateway(HOSTS, endpoint=ENDPOINT) as running:
        data = (await told(running, "models/deepseek/deepseek-v3.2/endpoints"))["data"]
        retained = await told(running, "endpoints/zdr")
    assert [one["tag"] for one in data["endpoints"]] == ["own/fp8", "other/fp4"]
    assert retained["data"] == data["endpoints"]
    endpoint = data["endpoints"][0]
    assert endpoint["name"] == "Own | deepseek/deepseek-v3.2"
    assert endpoint["supports_tool_choice"] == {"auto": True, "none": True, "required": False, "function": False}
    assert endpoint["status"] == 0
    assert [one["name"] for one in endpoint["capabilities"]] == ["json_schema", "seed", "tools"]
    assert endpoint["capabilities"][0]["sources"] == [{"source": "configuration", "supported": True}]
    for figure in ("latency_last_30m", "throughput_last_30m", "uptime_last_5m", "uptime_last_30m", "uptime_last_1d"):
        assert endpoint[figure] is None


async def test_endpoints_tell_what_was_measured(gateway: Gateway, valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FRESH", 0.0)
    async with (
        ScriptedHost(streams(chunks("a good answer"))) as good,
        ScriptedHost(answers(500, {})) as bad,
        gateway({"good/fp8": good.url, "bad/fp8": bad.url}, store=valkey) as running,
    ):
        for _ in range(30):
            assert (await running.chat(stream=True)).status_code == 200
        async with asyncio.timeout(60):  # rows are shipped each second; figures show what was learned within 0.1 s
            while not known((endpoints := await measured(running))["good/fp8"]):
                await asyncio.sleep(0.1)
    assert endpoints["good/fp8"]["uptime_last_5m"] == endpoints["good/fp8"]["uptime_last_30m"] == 100
    assert set(endpoints["good/fp8"]["latency_last_30m"]) == {"p50", "p75", "p90", "p99"}
    assert endpoints["bad/fp8"]["uptime_last_5m"] in (0, None)  # it may never have been asked
    assert endpoints["bad/fp8"]["latency_last_30m"] is None


def known(endpoint: dict[str, Any]) -> bool:
    return endpoint["uptime_last_1d"] is not None and endpoint["latency_last_30m"] is not None


class Uptimes:
    """An archive that counts how often it is read, and may be down."""

    def __init__(self) -> None:
        self.read_at: list[float] = []
        self.is_down = False

    async def uptimes(self, endpoints: Sequence[Series], now: float) -> list[Uptime]:
        self.read_at.append(now)
        if self.is_down:
            raise OSError("no store")
        assert endpoints == [("own/model", "endpoint", "a/fp8")]
        return [Uptime(99.0, 98.0, 97.0)]


async def unclaimed(_: Model) -> CapabilityClaims:
    return NO_CLAIMS


async def unprobed(_: Model) -> Probed:
    return {}


async def test_uptimes_are_read_every_few_seconds(sink: str, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("a/fp8", "a", "http://a", "m", price=Price(0.2, 0.4))
    model, archive = Model("own/model", "Model", 1_000, (endpoint,)), Uptimes()
    fleets = {model.id: Fleet([endpoint])}
    routes = Listing((model,), fleets, Keys(()), cast(Archive, archive), unclaimed, unprobed).routes()
    (route,) = (one for one in routes if one.path.endswith("/endpoints"))

    async def shown(now: float) -> float | None:
        monkeypatch.setattr(listing, "time", SimpleNamespace(monotonic=lambda: now, time=lambda: 1_000 + now))
        scope = {"type": "http", "headers": [], "path_params": {"author": "own", "slug": "model"}}
        answer = await route.endpoint(Request(scope))
        uptime: float | None = json.loads(answer.body)["data"]["endpoints"][0]["uptime_last_5m"]
        return uptime

    assert [await shown(now) for now in (7.0, 7.0 + listing.FRESH - 0.1)] == [99.0, 99.0]
    assert archive.read_at == [1_007]
    archive.is_down = True
    assert await shown(7.0 + listing.FRESH) is None, "an old figure would be wrong"
    archive.is_down = False
    assert await shown(7.0 + listing.FRESH + 1) is None
    assert await shown(7.0 + 2 * listing.FRESH) == 99.0
    assert len(archive.read_at) == 3


async def measured(running: Running) -> dict[str, Any]:
    data = (await told(running, "models/deepseek/deepseek-v3.2/endpoints"))["data"]
    return {one["tag"]: one for one in data["endpoints"]}


async def test_providers(gateway: Gateway) -> None:
    async with gateway(HOSTS, endpoint=ENDPOINT) as running:
        (provider,) = (await told(running, "providers"))["data"]
    assert (provider["name"], provider["slug"]) == ("Own", "vllm")


@pytest.mark.parametrize(
    "path", ["models", "models/count", "model/a/b", "models/a/b/endpoints", "providers", "endpoints/zdr"]
)
async def test_a_key_is_needed_where_there_are_keys(gateway: Gateway, path: str) -> None:
    async with gateway(HOSTS, environ={"GATEWAY_API_KEYS": "team:secret-of-the-team"}) as running:
        await told(running, path, 401)
        key = {"authorization": "Bearer secret-of-the-team"}
        assert (await running.client.get(f"/api/v1/{path}", headers=key)).status_code in (200, 404)


PUBLIC = ("models", "models/count", "model/deepseek/deepseek-v3.2", "models/deepseek/deepseek-v3.2/endpoints")
WITH_KEYS = {"GATEWAY_API_KEYS": "app:sk-app"}


@pytest.mark.parametrize("public", [False, True])
async def test_lists_are_public_where_the_setting_says_so(gateway: Gateway, public: bool) -> None:
    async with gateway(HOSTS, environ=WITH_KEYS, public_lists=public) as running:
        for path in (*PUBLIC, "providers", "endpoints/zdr"):
            await told(running, path, 200 if public else 401)
        for private in ("key", "auth/key", "credits", "activity", "generation?id=gen-1"):
            await told(running, private, 401)
        assert (await running.client.get("/v1/models")).status_code == 401
