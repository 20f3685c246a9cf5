"""What holds for every path and every answer, over either sink: slashes, request ids, web pages of other origins."""

import asyncio

import pytest

from gateway.server.middleware import plain
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

APP = "https://chat.example"
CHAT = "/v1/chat/completions"
QUESTION = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}
PREFLIGHT = {
    "origin": APP,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}
WITH_KEY = {"GATEWAY_API_KEYS": "web:sk-web"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [("/v1/models/", "/v1/models"), ("//v1//models", "/v1/models"), ("/", "/"), ("//", "/"), ("/v1/x", "/v1/x")],
)
def test_paths_lose_empty_parts(given: str, meant: str) -> None:
    assert plain(given) == meant


@pytest.mark.parametrize("path", [f"{CHAT}/", f"/{CHAT}", "//api//v1/chat/completions//", f"{CHAT}/?a=/b/"])
async def test_a_slash_too_many_is_served_and_not_redirected(gateway: Gateway, path: str) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"own/host": host.url}) as running:
        answer = await running.client.post(f"{running.url}{path}", json=QUESTION)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"


@DIRECT_ONLY  # these routes are Starlette's over either sink
async def test_lists_with_a_slash_too_many(gateway: Gateway) -> None:
    async with gateway({"own/host": "http://127.0.0.1:1"}) as running:
        for path in ("/v1/models/", "//v1/models", "/health/", "/api/v1/models/", "/v1/models/deepseek-v3.2/"):
            answer = await running.client.get(f"{running.url}{path}")
            assert answer.status_code == 200, path


@DIRECT_ONLY  # these routes are Starlette's over either sink
async def test_health_for_load_balancers(gateway: Gateway) -> None:
    async with gateway({}, environ=WITH_KEY) as running:
        for method in ("GET", "HEAD"):
            for path in ("/health", "/health/live", "/health/"):
                answer = await running.client.request(method, path)
                assert (answer.status_code, answer.text) == (200, '{"status":"ok"}' if method == "GET" else "")
        assert (await running.client.get("/health/ready")).status_code == 503, "there is no endpoint"


async def test_every_answer_has_a_request_id(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"own/host": host.url}, environ=WITH_KEY, max_body="1KiB") as running,
    ):
        key = {"authorization": "Bearer sk-web"}
        good = await running.chat(headers=key)
        assert good.headers["x-request-id"] == good.headers["x-generation-id"]
        refused = [
            await running.chat(),
            await running.chat("x" * 2000, headers=key),
            await running.chat(model="unknown", headers=key),
            await running.client.get("/v1/models"),
            await running.client.get("/nowhere"),
            await running.client.post("/health"),
            await running.client.post("/v1/messages", json=QUESTION),
        ]
    assert [one.status_code for one in refused] == [401, 413, 404, 401, 404, 405, 401]
    ids = {one.headers["x-request-id"] for one in refused}
    assert len(ids) == len(refused)


@pytest.mark.parametrize("path", [CHAT, "/v1/nowhere"])
async def test_a_sane_request_id_of_the_client_comes_back(gateway: Gateway, path: str) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"own/host": host.url}) as running:

        async def named(name: str) -> str:
            answer = await running.client.post(path, json=QUESTION, headers={"x-request-id": name})
            return answer.headers["x-request-id"]

        assert await named("trace-7f:3/a") == "trace-7f:3/a"
        for odd in ("x" * 200, "a b", "<script>"):
            assert await named(odd) != odd


async def preflight(running: Running, **headers: str) -> dict[str, str]:
    answer = await running.client.request("OPTIONS", CHAT, headers=PREFLIGHT | headers)
    assert (answer.status_code == 204) == ("access-control-allow-methods" in answer.headers)
    return {name: value for name, value in answer.headers.items() if name.startswith(("access-control", "vary"))}


@DIRECT_ONLY  # no OPTIONS request is hot
async def test_a_preflight_needs_no_key(gateway: Gateway) -> None:
    async with gateway({"own/host": "http://127.0.0.1:1"}, environ=WITH_KEY, cors=[APP]) as running:
        assert await preflight(running) == {
            "access-control-allow-origin": APP,
            "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
            "access-control-allow-headers": "authorization,content-type",
            "access-control-max-age": "7200",
            "vary": "origin",
        }
        assert "access-control-allow-origin" not in await preflight(running, origin="https://evil.example")
        assert (await running.client.request("OPTIONS", CHAT, headers={"origin": APP})).status_code == 405


@DIRECT_ONLY  # no OPTIONS request is hot
async def test_any_origin(gateway: Gateway) -> None:
    async with gateway({"own/host": "http://127.0.0.1:1"}, environ=WITH_KEY, cors=["*"]) as running:
        for origin in (APP, "http://localhost:5173", "null"):
            assert (await preflight(running, origin=origin))["access-control-allow-origin"] == "*"


@DIRECT_ONLY  # no OPTIONS request is hot
async def test_without_the_setting_there_is_no_preflight(gateway: Gateway) -> None:
    async with gateway({"own/host": "http://127.0.0.1:1"}, environ=WITH_KEY) as running:
        assert await preflight(running) == {}


async def test_pages_may_read_answers_streams_and_errors(gateway: Gateway) -> None:
    async with (
        ScriptedHost(streams(chunks("Hello"))) as host,
        gateway({"own/host": host.url}, environ=WITH_KEY, cors=["https://other.example", APP]) as running,
    ):
        key = {"authorization": "Bearer sk-web"}
        for given in (key, {}):
            for origin, allowed in ((APP, APP), ("https://evil.example", None)):
                answer = await running.chat(stream=True, headers={"origin": origin, **given})
                assert answer.status_code == (200 if given else 401)
                assert answer.headers.get("access-control-allow-origin") == allowed
                assert answer.headers["vary"] == "origin"
                exposed = answer.headers.get("access-control-expose-headers", "")
                assert ("x-generation-id" in exposed and "retry-after" in exposed) == bool(allowed)
        listed = await running.client.get("/v1/models", headers={"origin": APP, **key})
        assert listed.headers["access-control-allow-origin"] == APP


@DIRECT_ONLY  # the answer is Starlette's over either sink
async def test_an_internal_fault_is_reported_with_the_same_headers(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from gateway.api.account import Account

    async def fails(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Account, "_key", fails)
    async with gateway({"own/host": "http://127.0.0.1:1"}, cors=[APP]) as running:
        answer = await asyncio.wait_for(running.client.get("/api/v1/key", headers={"origin": APP}), 60)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == 500
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["x-request-id"].startswith("req-")
