"""OpenRouter's options: what they come to, on both surfaces, and what is refused."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.errors import BadRequest, ClientError, NotFound
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.intake.options import ELSEWHERE, read_cache_options, read_options
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet
from gateway.types import Policy, Request
from gateway.types.sink import Inbound
from tests.support.gateway import write_config

NO_HEADERS: Mapping[bytes, bytes] = {}
HEADER = {b"x-session-id": b"from the header"}


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    settings = load(write_config(tmp_path, {"a/fp8": "http://127.0.0.1:1"}), {})
    fleets = {model.id: Fleet(model.endpoints) for model in settings.models}
    serving = Serving(Keys(()), Policies(settings.policies), fleets, settings.default_policy)
    return Intake(serving, Names(settings.models))


def read(
    intake: Intake, headers: Mapping[bytes, bytes] = NO_HEADERS, place: int = 0, **fields: Any
) -> tuple[Request, Policy]:
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return intake.read(Inbound(dict(headers), json.dumps(body).encode(), 0.0), place=place)


def test_a_request_without_options_has_none() -> None:
    assert read_options({"model": "m", "messages": []}, {}) == ("", False, False, "")
    assert read_options({"plugins": None, "reasoning": None, "session_id": None}, {}) == ("", False, False, "")


# --- the session


def test_a_session_is_the_bodys_the_headers_or_the_prompt_caches() -> None:
    assert read_options({"session_id": "s", "prompt_cache_key": "k"}, HEADER).session == "s"
    assert read_options({"prompt_cache_key": "k"}, HEADER).session == "from the header"
    assert read_options({"session_id": "", "prompt_cache_key": "k"}, {}).session == "k"


def test_a_session_is_at_most_256_characters_long() -> None:
    assert read_options({"session_id": "x" * 256}, {}).session == "x" * 256
    for body, headers, param in (
        ({"session_id": "x" * 257}, {}, "session_id"),
        ({"prompt_cache_key": "x" * 257}, {}, "prompt_cache_key"),
        ({}, {b"x-session-id": b"x" * 257}, "x-session-id"),
    ):
        with pytest.raises(BadRequest, match="256") as caught:
            read_options(body, headers)
        assert caught.value.param == param


def test_the_request_carries_what_was_read(intake: Intake) -> None:
    asked, _ = read(intake, HEADER, plugins=[{"id": "context-compression"}], reasoning={"exclude": True})
    assert (asked.session, asked.hides_reasoning) == ("from the header", True)
    asked, _ = read(intake)
    assert (asked.session, asked.hides_reasoning, asked.tells_routing) == ("", False, False)


# --- compression, reasoning


@pytest.mark.parametrize(
    ("body", "compress"),
    [
        ({"transforms": ["middle-out"]}, True),
        ({"transforms": []}, False),
        ({"plugins": [{"id": "context-compression"}]}, True),
        ({"plugins": [{"id": "context-compression", "enabled": True, "engine": "middle-out"}]}, True),
        ({"plugins": [{"id": "context-compression", "enabled": False}]}, False),
        ({"plugins": [{"id": "response-healing"}, {"id": "web", "enabled": False}]}, False),
    ],
)
def test_middle_out_is_requested_by_transforms_or_plugin(body: dict[str, Any], compress: bool) -> None:
    assert read_options(body, {}).compress is compress


@pytest.mark.parametrize(
    ("body", "hidden"),
    [
        ({"reasoning": {"exclude": True}}, True),
        ({"reasoning": {"exclude": False}, "include_reasoning": False}, False),
        ({"reasoning": {"enabled": True}, "include_reasoning": False}, True),
        ({"include_reasoning": True}, False),
    ],
)
def test_reasoning_is_hidden(body: dict[str, Any], hidden: bool) -> None:
    assert read_options(body, {}).hides_reasoning is hidden


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"plugins": {}}, "plugins", "a list"),
    ({"plugins": ["web"]}, "plugins", "`id`"),
    ({"plugins": [{"id": 7}]}, "plugins", "`id`"),
    ({"plugins": [{"id": "nothing"}]}, "plugins", "unknown; supported plugins: context-compression, response-healing"),
    *(({"plugins": [{"id": name}]}, "plugins", why) for name, why in ELSEWHERE.items()),
    ({"transforms": "middle-out"}, "transforms", "a list"),
    ({"transforms": ["upper-case"]}, "transforms", "middle-out"),
    ({"preset": 7}, "preset", "policy"),
    ({"route": "other"}, "route", "fallback"),
    ({"service_tier": "flex"}, "service_tier", "auto"),
    ({"session_id": 7}, "session_id", "a string"),
    ({"trace": []}, "trace", "an object"),
    ({"usage": True}, "usage", "an object"),
    ({"include_reasoning": "no"}, "include_reasoning", "true or false"),
    ({"reasoning": "high"}, "reasoning", "an object"),
    ({"reasoning": {"exclude": "yes"}}, "reasoning.exclude", "true or false"),
    ({"reasoning": {"enabled": 1}}, "reasoning.enabled", "true or false"),
    ({"reasoning": {"effort": "extreme"}}, "reasoning.effort", "minimal"),
    ({"reasoning": {"effort": 3}}, "reasoning.effort", "minimal"),
    ({"reasoning": {"effort": ["high"]}}, "reasoning.effort", "minimal"),
    ({"reasoning": {"max_tokens": 0}}, "reasoning.max_tokens", "positive"),
    ({"reasoning": {"max_tokens": True}}, "reasoning.max_tokens", "positive"),
    ({"reasoning": {"effort": "low", "max_tokens": 5}}, "reasoning", "not both"),
]


@pytest.mark.parametrize(("body", "param", "words"), WRONG)
def test_what_is_wrong_is_named_with_what_would_be_right(body: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_options(body, {})
    assert caught.value.param == param
    assert words in caught.value.message


# --- models and suffixes


def test_the_first_model_that_is_served_here_counts(intake: Intake) -> None:
    for fields in (
        {"model": "openai/gpt-4", "models": ["a/b", "deepseek-chat", "deepseek-reasoner"]},
        {"model": None, "models": ["deepseek/deepseek-v3.2"]},
        {"model": "deepseek-v3.2:free", "models": ["deepseek-v3.2"]},
    ):
        asked, policy = read(intake, **fields)
        assert (asked.model, policy.name, asked.thinking) == ("deepseek/deepseek-v3.2", "balanced", False)
    asked, policy = read(intake, model="gpt-4", models=["deepseek-reasoner:nitro"])
    assert (policy.name, asked.thinking) == ("nitro", True)


@pytest.mark.parametrize(
    ("place", "policy", "others"), [(0, "balanced", 2), (1, "nitro", 1), (2, "floor", 0), (9, "floor", 0)]
)
def test_each_of_several_models_knows_how_many_may_still_be_tried(
    intake: Intake, place: int, policy: str, others: int
) -> None:
    models = ["gpt-4", "deepseek-chat", "deepseek-chat:nitro", "deepseek-chat:floor"]
    request, chosen = read(intake, model=None, models=models, place=place)
    assert (chosen.name, request.other_models) == (policy, others)


def test_another_api_tries_only_the_first_model(intake: Intake) -> None:
    body = {"models": ["deepseek-chat:nitro", "deepseek-chat"], "messages": [{"role": "user", "content": "Hi"}]}
    request, policy = intake.read(Inbound({}, json.dumps(body).encode(), 0.0), lambda translated: translated)
    assert (policy.name, request.other_models) == ("nitro", 0)


def test_no_model_that_is_served_here_is_the_firsts_error(intake: Intake) -> None:
    with pytest.raises(NotFound, match="`gpt-4`"):
        read(intake, model="gpt-4", models=["gpt-5"])
    with pytest.raises(NotFound, match="OpenRouter"):
        read(intake, model="deepseek-v3.2:free", models=["gpt-5"])


@pytest.mark.parametrize("models", ["deepseek-v3.2", [7], ["deepseek-v3.2"] * 17, {"a": 1}])
def test_models_are_a_short_list_of_names(models: Any, intake: Intake) -> None:
    with pytest.raises(BadRequest) as caught:
        read(intake, models=models)
    assert caught.value.param == "models"


@pytest.mark.parametrize(
    ("suffix", "policy"), [("nitro:floor", "floor"), ("floor:nitro", "nitro"), ("exacto", "exacto")]
)
def test_the_last_suffix_counts(suffix: str, policy: str, intake: Intake) -> None:
    assert read(intake, model=f"deepseek-v3.2:{suffix}")[1].name == policy


@pytest.mark.parametrize("suffix", ["nothing:nitro", "nitro:nothing", "free:nitro", "nitro:online", "nitro:", ":nitro"])
def test_a_suffix_that_is_unknown_is_not_passed_over(suffix: str, intake: Intake) -> None:
    with pytest.raises(NotFound):
        read(intake, model=f"deepseek-v3.2:{suffix}")


def test_a_tool_that_openrouter_would_run_is_refused(intake: Intake) -> None:
    with pytest.raises(BadRequest, match="openrouter:datetime") as caught:
        read(intake, tools=[{"type": "function", "function": {"name": "f"}}, {"type": "openrouter:datetime"}])
    assert caught.value.param == "tools"


# --- headers


@pytest.mark.parametrize(
    ("headers", "mode", "ttl"),
    [
        ({}, "default", 0),
        ({b"x-openrouter-cache": b"true"}, "on", 0),
        ({b"x-openrouter-cache": b"False"}, "no-store", 0),
        ({b"x-openrouter-cache": b"true", b"x-openrouter-cache-ttl": b"60"}, "on", 60),
        ({b"x-openrouter-cache": b"true", b"x-openrouter-cache-ttl": b"1"}, "on", 1),
        ({b"x-openrouter-cache": b"true", b"x-openrouter-cache-ttl": b"86400"}, "on", 86_400),
        ({b"x-openrouter-cache-clear": b"true"}, "refresh", 0),
        ({b"x-openrouter-cache-clear": b"false"}, "default", 0),
        ({b"x-openrouter-cache": b"false", b"x-openrouter-cache-clear": b"true"}, "no-store", 0),
        ({b"x-openrouter-cache": b"false", b"x-gateway-cache": b"refresh"}, "refresh", 0),
    ],
)
def test_openrouters_cache_headers(headers: dict[bytes, bytes], mode: str, ttl: float) -> None:
    assert read_cache_options(headers) == (mode, ttl)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-openrouter-cache", "maybe"),
        ("x-openrouter-cache-clear", "1"),
        *(("x-openrouter-cache-ttl", value) for value in ("0", "86401", "-1", "1.5", "soon", "\u00b2", "9" * 5000)),
    ],
)
def test_a_cache_header_that_says_nothing(name: str, value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_cache_options({name.encode(): value.encode("latin-1")})
    assert caught.value.param == name


def test_only_enabled_asks_for_routing(intake: Intake) -> None:
    assert read(intake, {b"x-openrouter-metadata": b"Enabled"})[0].tells_routing
    assert not read(intake, {b"x-openrouter-metadata": b"yes"})[0].tells_routing


def test_whatever_is_read_only_client_errors_are_raised(intake: Intake) -> None:
    junk: list[Any] = [None, 0, True, "", "x", [], [None], {}, {"a": 1}, [[]], -1, 1.5]
    for name in ("models", "plugins", "transforms", "reasoning", "route", "service_tier", "session_id", "preset"):
        for value in junk:
            with suppress(ClientError):
                read(intake, **{name: value})
