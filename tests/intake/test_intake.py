"""What a request's body comes to: how long its prompt is, and that hosts are sent what the client said."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.config import load
from gateway.document.nesting import DEEPEST
from gateway.errors import BadRequest
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet
from gateway.surface.anthropic.decode import chat_body
from gateway.surface.openai import completions
from gateway.surface.responses import decode as responses_request
from gateway.surface.responses.tools import NO_TOOLS
from gateway.types import Endpoint, Request
from gateway.types.sink import Inbound
from gateway.upstream.dialects import outgoing
from tests.support.gateway import write_config

RUSSIAN = "Привет, мир! " * 1000
A_HOST = Endpoint("a", "a", "http://127.0.0.1:1/v1", "m")


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    settings = load(write_config(tmp_path, {"a/fp8": "http://127.0.0.1:1"}), {})
    fleets = {model.id: Fleet(model.endpoints) for model in settings.models}
    serving = Serving(Keys(()), Policies(settings.policies), fleets, settings.default_policy)
    return Intake(serving, Names(settings.models))


def read(intake: Intake, body: Any, *, escaped: bool = True) -> Request:
    data = json.dumps({"model": "deepseek-v3.2", **body}, ensure_ascii=escaped).encode()
    return intake.read(Inbound({}, data, 0.0))[0]


def asks(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def test_a_prompt_is_as_long_as_its_text_however_it_is_written(intake: Intake) -> None:
    escaped, plain = read(intake, asks(RUSSIAN)), read(intake, asks(RUSSIAN), escaped=False)
    assert escaped.prompt_tokens == plain.prompt_tokens
    assert escaped.prompt_tokens == pytest.approx(len(RUSSIAN.encode()) / 4, rel=0.01)
    assert escaped.prefix == plain.prefix


@pytest.mark.parametrize("field", ["an_option_of_a_host", "tools"])
def test_a_field_that_is_nested_too_deeply_is_refused(intake: Intake, field: str) -> None:
    within, beyond = nested(DEEPEST), nested(DEEPEST + 1)
    assert read(intake, asks("Hi", **{field: within})).body[field] == within
    with pytest.raises(BadRequest, match="nested"):
        read(intake, asks("Hi", **{field: beyond}))


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels - 1):
        found = [found]
    return found


def test_what_is_no_prompt_does_not_count(intake: Intake) -> None:
    plain = read(intake, asks("Hi"))
    assert read(intake, asks("Hi", metadata={"note": "x" * 10_000})).prompt_tokens == plain.prompt_tokens
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 4_000}}]
    assert read(intake, asks("Hi", tools=tools)).prompt_tokens > plain.prompt_tokens + 1_000


def test_a_long_conversation_counts_to_its_end(intake: Intake) -> None:
    turns = [{"role": "user", "content": "x" * 400} for _ in range(1_000)]
    request = read(intake, {"messages": turns})
    assert len(request.prefix) == 1_000
    assert request.prefix[-1][1] == request.prompt_tokens > 100_000


def test_the_opening_ends_with_the_first_user_message(intake: Intake) -> None:
    first = [{"role": "system", "content": "s" * 400}, {"role": "user", "content": "u" * 800}]
    later = [*first, {"role": "assistant", "content": "a" * 4_000}, {"role": "user", "content": "u" * 40}]
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 4_000}}]
    opens, goes_on, with_tools = (
        read(intake, {"messages": first}),
        read(intake, {"messages": later}),
        read(intake, {"messages": later, "tools": tools}),
    )
    assert opens.opening == opens.prompt_tokens == opens.prefix[1][1]
    assert goes_on.opening == opens.opening
    assert with_tools.opening == with_tools.prefix[3][1] > 1_000 + opens.opening  # after two of the tools


def test_without_a_user_message_all_of_it_is_the_opening(intake: Intake) -> None:
    request = read(intake, {"messages": [{"role": "system", "content": "s" * 400}]})
    assert request.opening == request.prompt_tokens


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": 'line\n "quoted" \\ \u00e9 \U0001f600 \u2028'}],
        [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x", "reasoning": "y"}] * 3,
    ],
)
def test_hosts_are_sent_what_they_would_be_sent_of_the_parsed_body(intake: Intake, messages: Any) -> None:
    request = read(intake, {"messages": messages})
    bare = Request(id=request.id, body=request.body, model=request.model, policy=request.policy)
    assert orjson.loads(outgoing(request, A_HOST)) == orjson.loads(outgoing(bare, A_HOST))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n", "seed", "top_k", "top_logprobs"])
def test_a_whole_number_may_be_written_as_a_float(intake: Intake, name: str) -> None:
    request = read(intake, asks("Hi", **{name: 8.0}))
    sent = json.loads(outgoing(request, A_HOST))
    value = sent["max_tokens" if name == "max_completion_tokens" else name]
    assert (value, type(value)) == (8, int)
    assert request.max_tokens == (8 if name.startswith("max_") else None)


@pytest.mark.parametrize(
    ("translate", "body"),
    [
        (chat_body, {**asks("Hi"), "max_tokens": 8.0}),
        (lambda body: responses_request.chat_request(body, NO_TOOLS), {"input": "Hi", "max_output_tokens": 8.0}),
        (completions.chat_request, {"prompt": "Hi", "max_tokens": 8.0}),
    ],
)
def test_so_it_may_on_every_surface(intake: Intake, translate: Any, body: dict[str, Any]) -> None:
    data = orjson.dumps({"model": "deepseek-v3.2", **body})
    request, _ = intake.read(Inbound({}, data, 0.0), translate)
    assert (request.max_tokens, type(request.max_tokens)) == (8, int)
    assert json.loads(outgoing(request, A_HOST))["max_tokens"] == 8


@pytest.mark.parametrize("value", [0, -1, 0.0, 1.5, 1e300, 2**64, 10**30, True, "8"])
def test_what_is_no_count_is_refused_with_what_would_be_right(intake: Intake, value: Any) -> None:
    with pytest.raises(BadRequest, match=r"`max_tokens` must be a whole number from 1 to .*, or absent") as refused:
        read(intake, asks("Hi", max_tokens=value))
    assert refused.value.param == "max_tokens"


@pytest.mark.parametrize(
    ("sent", "means"),
    [("Größe".encode(), "Größe"), ("Größe".encode("latin-1"), "Größe"), ("日本".encode(), "日本"), (b" App ", "App")],
)
def test_an_apps_name_is_utf_8_or_else_latin_1(intake: Intake, sent: bytes, means: str) -> None:
    body = orjson.dumps({"model": "deepseek-v3.2", **asks("Hi")})
    assert intake.read(Inbound({b"x-title": sent}, body, 0.0))[0].app == means
