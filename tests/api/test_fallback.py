"""`models`: where a model's answer is an error, the next one is asked."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.intake import intake as parse
from gateway.server.worker_server import WORKER
from tests.api.openrouter import CHAT, ask, broken, chunks_of, told, whole
from tests.proxy.routed import ROLE, WORD, Routed, content, outcomes, rows, says, stalls
from tests.support.gateway import Running, write_policy
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams

PATHS = pytest.mark.parametrize("path", [CHAT, "/v1/chat/completions"])
STREAM = pytest.mark.parametrize("stream", [True, False])
MODELS = ["deepseek-v3.2:first", "deepseek-v3.2:second"]


@pytest.fixture(autouse=True)
def policies(tmp_path: Path) -> None:
    for name, endpoint in (("first", "a/fp8"), ("second", "b/fp8")):
        write_policy(
            tmp_path / "policies", name, require={"only": [endpoint]}, keepalive="50ms", attempts={"retries": 0}
        )


@pytest.fixture
def hasty(tmp_path: Path, policies: None) -> None:
    """The first model has little time, for hosts that are silent."""
    once: Any = {"attempts": {"retries": 0}, "timeouts": {"first_token": "200ms", "first_token_per_10k": "0s"}}
    write_policy(tmp_path / "policies", "first", require={"only": ["a/fp8"]}, keepalive="50ms", **once)


@PATHS
@STREAM
@pytest.mark.parametrize("failing", [answers(503, {}), answers(400, {"error": {"message": "messages: wrong"}})])
async def test_any_error_asks_the_next_model(failing: Any, stream: bool, path: str, routed: Routed) -> None:
    good = streams(chunks("Hello")) if stream else answers(200, completion("Hello"))
    async with ScriptedHost(failing) as first, ScriptedHost(good) as second, routed(first, second) as running:
        response = await ask(running, path, stream=stream, model=None, models=MODELS)
        assert response.status_code == 200
        assert response.headers["x-gateway-policy"] == "second"
        assert "Hello" in response.text
        assert [endpoint for endpoint, _ in outcomes(running)] == ["a/fp8", "b/fp8"]
        assert response.headers["x-generation-id"] == rows(running)[-1].exchange


@pytest.mark.parametrize(("path", "asks_on"), [(CHAT, True), ("/v1/chat/completions", False)])
@STREAM
async def test_a_refusal_of_the_content_is_the_answer_but_for_openrouters_clients(
    path: str, asks_on: bool, stream: bool, routed: Routed
) -> None:
    refusal = answers(400, {"error": {"message": "violates our usage policy", "code": "content_policy_violation"}})
    good = streams(chunks("Hello")) if stream else answers(200, completion("Hello"))
    async with ScriptedHost(refusal) as first, ScriptedHost(good) as second, routed(first, second) as running:
        response = await ask(running, path, stream=stream, model=None, models=MODELS)
        assert response.status_code == (200 if asks_on else 400)
        assert len(second.requests) == asks_on


async def test_the_last_models_error_is_reported(routed: Routed) -> None:
    slow, down = answers(429, {"error": {"message": "slow"}}), answers(503, {"error": {"message": "down"}})
    async with ScriptedHost(slow) as first, ScriptedHost(down) as second, routed(first, second) as running:
        error = told(await ask(running, model=MODELS[0], models=[MODELS[1], MODELS[0], "gpt-4"]), 503)
        assert error["metadata"]["raw"] == "down"
        assert error["availability"]["requested_models"] == [MODELS[0], MODELS[1], MODELS[0], "gpt-4"]
        assert (len(first.requests), len(second.requests)) == (1, 1), "each is asked once"


async def test_a_model_without_an_endpoint_is_passed_over(routed: Routed) -> None:
    async with (
        ScriptedHost([]) as first,
        ScriptedHost(answers(200, completion("Hello"))) as second,
        routed(first, second) as running,
    ):
        assert whole(await ask(running, model=None, models=MODELS, provider={"ignore": ["a/fp8"]}))


@STREAM
async def test_a_model_of_which_every_breaker_is_open_is_passed_over(stream: bool, routed: Routed) -> None:
    good = streams(chunks("Hello")) if stream else answers(200, completion("Hello"))
    async with ScriptedHost([]) as first, ScriptedHost(good) as second, routed(first, second) as running:
        open_breakers(running, "a/fp8")
        assert "Hello" in (await ask(running, stream=stream, model=None, models=MODELS)).text
        assert outcomes(running) == [("", "unrouted"), ("b/fp8", "ok")]


async def test_the_last_model_is_requested_whatever_its_breakers_are(routed: Routed) -> None:
    good = answers(200, completion("Hello"))
    async with ScriptedHost([]) as first, ScriptedHost(good) as second, routed(first, second) as running:
        open_breakers(running, "a/fp8", "b/fp8")
        assert whole(await ask(running, model=None, models=MODELS))
        assert outcomes(running) == [("", "unrouted"), ("b/fp8", "ok")]


def open_breakers(running: Running, *endpoints: str) -> None:
    """For an hour."""
    assert running.server is not None
    (fleet,) = running.server.lifespan.state[WORKER].configured.fleets.values()
    for endpoint in endpoints:
        breaker = fleet.states[endpoint].breaker
        breaker.trip(monotonic(), 0.0, "server")
        breaker.until += 3_600.0


async def test_a_model_that_answers_is_the_only_one(routed: Routed) -> None:
    async with (
        ScriptedHost(streams(chunks("Hello"))) as first,
        ScriptedHost([]) as second,
        routed(first, second) as run,
    ):
        chunks_of(await ask(run, stream=True, model=None, models=MODELS))


async def test_a_stream_that_has_begun_stays_with_its_model(routed: Routed) -> None:
    cut = says(ROLE, WORD, then="cut")
    async with ScriptedHost(cut) as first, ScriptedHost([]) as second, routed(first, second) as running:
        broken(await ask(running, stream=True, model=None, models=MODELS))


@pytest.mark.usefixtures("hasty")
async def test_a_stream_that_has_begun_ends_with_an_error_where_no_other_model_has_an_endpoint(routed: Routed) -> None:
    async with ScriptedHost(stalls) as first, ScriptedHost([]) as second, routed(first, second) as running:
        options = {"model": None, "models": MODELS, "provider": {"ignore": ["b/fp8"]}}
        response = await ask(running, stream=True, **options)
        assert response.status_code == 200
        assert response.text.count('"error":{') == 1
        assert [(row.outcome, row.client_status) for row in rows(running)] == [
            ("timeout_first_token", 200),
            ("unrouted", 200),
        ]


@pytest.mark.usefixtures("hasty")
@PATHS
async def test_a_stream_of_which_only_comments_have_left_goes_on_with_the_next_model(path: str, routed: Routed) -> None:
    """The first model's host is silent: comments have kept the client, and the second one's answer follows them."""
    good = streams(chunks("Hello"))
    async with ScriptedHost(stalls) as first, ScriptedHost(good) as second, routed(first, second) as run:
        response = await ask(run, path, stream=True, model=None, models=MODELS)
        assert response.status_code == 200
        assert response.text.startswith(":")
        assert ": endpoint b/fp8, attempts 1" in response.text
        assert (content(response.text), response.text.count("[DONE]")) == ("Hello", 1)
        assert outcomes(run) == [("a/fp8", "timeout_first_token"), ("b/fp8", "ok")]
        assert [(row.last, row.client_status) for row in rows(run)] == [(True, 200), (True, 200)]


@pytest.mark.usefixtures("hasty")
async def test_where_the_last_model_fails_behind_comments_its_error_ends_the_stream(routed: Routed) -> None:
    async with ScriptedHost(stalls) as first, ScriptedHost(answers(503, {})) as second, routed(first, second) as run:
        response = await ask(run, stream=True, model=None, models=MODELS)
        assert response.text.startswith(":")
        assert "b/fp8" in str(broken(response))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("good", [answers(200, completion("Hello")), answers(503, {"error": {"message": "down"}})])
async def test_white_space_that_keeps_a_whole_answers_client_is_followed_by_the_next_models(
    good: Any, routed: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parse, "PATIENCE", 0.05)
    async with ScriptedHost(stalls) as first, ScriptedHost(good) as second, routed(first, second) as run:
        response = await ask(run, model=None, models=MODELS)
        assert response.status_code == 200
        assert response.text.startswith("\n")
        assert ("Hello" in response.text) != ("error" in response.json())


async def test_a_client_that_leaves_ends_the_last_one(routed: Routed) -> None:
    asked = asyncio.Event()

    async def silent(request: Received, out: Out) -> None:
        asked.set()
        await stalls(request, out)

    async with ScriptedHost(answers(503, {})) as first, ScriptedHost(silent) as second, routed(first, second) as run:
        waiting = asyncio.create_task(ask(run, model=None, models=MODELS))
        await asked.wait()
        waiting.cancel()
        await second.until(lambda: second.gone == 1)
        await second.until(lambda: [outcome for _, outcome in outcomes(run)] == ["server", "cancelled"])


async def test_a_policy_that_goes_away_while_the_first_model_is_tried(tmp_path: Path, routed: Routed) -> None:
    """Then there is no second one: the first is asked again, and the client is answered."""
    asked = asyncio.Event()
    reloaded = asyncio.Event()

    async def fails_late(request: Received, out: Out) -> None:
        asked.set()
        await reloaded.wait()
        await answers(400, {"error": {"message": "messages: wrong"}})(request, out)

    async with (
        ScriptedHost([fails_late, answers(200, completion("Hello"))]) as first,
        ScriptedHost(answers(200, completion("Hello"))) as second,
        routed(first, second) as running,
    ):
        waiting = asyncio.create_task(ask(running, model=None, models=MODELS))
        await asked.wait()
        (tmp_path / "policies" / "second.yaml").unlink()
        while (await ask(running, model=MODELS[1])).status_code != 404:
            await asyncio.sleep(0.01)
        reloaded.set()
        assert "Hello" in (await waiting).text
