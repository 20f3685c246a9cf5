"""The types that describe requests and answers, held to the code that reads and makes them.

That answers of a running gateway are as described is shown by `test_openapi`.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import msgspec
import pytest

from gateway.api.error_types import AnthropicErrorBody, ErrorBody, OpenRouterErrorBody
from gateway.errors import BadRequest, ClientError, NoEndpoint, NotFound, UpstreamError
from gateway.intake import body as parse
from gateway.intake import options
from gateway.intake.options_types import PluginOptions, ProviderOptions, ReasoningFields, RoutingFields
from gateway.surface.anthropic import decode as anthropic_request
from gateway.surface.anthropic import errors as anthropic
from gateway.surface.anthropic.types import MessagesRequest
from gateway.surface.openai.types import ChatRequest, TextRequest
from gateway.surface.openrouter import errors as openrouter
from gateway.surface.responses import decode as responses_request
from gateway.surface.responses.types import ResponsesRequest
from tests.source import modules

REFUSED = {"mcp_servers"}  # read only to say what is wrong with it
SAMPLES: Mapping[type, Any] = {bool: True, dict: {}, int: 1, list: [], str: "text"}  # by kind


def fields(described: type) -> set[str]:
    return set(get_type_hints(described))


def literals(module: str, *names: str) -> Iterator[str]:
    """The texts by which a module reads variables of these names: `name["text"]`, `name.get("text")`, and
    `object_field(name, "text")`."""
    for node in ast.walk(modules()[f"gateway.{module}"].tree):
        match node:
            case ast.Subscript(ast.Name(name), ast.Constant(str(text))) if name in names:
                yield text
            case ast.Call(ast.Attribute(ast.Name(name), "get"), [ast.Constant(str(text)), *_]) if name in names:
                yield text
            case ast.Call(ast.Name("object_field"), [ast.Name(name), ast.Constant(str(text)), *_]) if name in names:
                yield text


def read(module: str, *names: str) -> set[str]:
    found = set(literals(module, *names))
    assert found, f"{module} reads no {' or '.join(names)}"
    return found


@pytest.mark.parametrize(
    ("described", "module", "name"),
    [
        (ChatRequest, "intake.intake", "body"),
        (ChatRequest, "intake.body", "body"),
        (ChatRequest, "intake.options", "body"),
        (ChatRequest, "intake.options", "given"),
        (ChatRequest, "intake.prompt", "body"),
        (ChatRequest, "upstream.dialects", "body"),
        (ChatRequest, "upstream.dialects", "client"),
        (TextRequest, "surface.openai.completions", "body"),
        (ResponsesRequest, "api.responses", "client_body"),
        (ResponsesRequest, "surface.responses.encode", "body"),
        (ResponsesRequest, "surface.responses.earlier", "body"),
        (ResponsesRequest, "surface.responses.decode", "body"),
        (ResponsesRequest, "surface.responses.tools", "body"),
        (MessagesRequest, "surface.anthropic.decode", "body"),
        (MessagesRequest, "surface.anthropic.tools", "body"),
    ],
)
def test_what_is_read_of_a_body_is_described(described: type, module: str, name: str) -> None:
    assert read(module, name) - REFUSED <= fields(described)


def test_a_read_that_is_not_described_would_be_seen() -> None:
    assert read("surface.anthropic.decode", "body") > {"mcp_servers", "system", "output_config"}
    assert not REFUSED & fields(MessagesRequest)


def test_tables_of_fields_and_types_say_the_same() -> None:
    """Both ways: no field is read without a description, and none described that nothing reads or passes on."""
    assert fields(RoutingFields) | {"reasoning", "include_reasoning"} == options._TYPED.keys() | {"provider", "models"}
    assert fields(ReasoningFields) <= read("upstream.dialects", "body")
    assert parse._EXPECTED.keys() | parse._NEEDY <= fields(ChatRequest)
    assert parse._COUNTS - {"max_output_tokens"} <= fields(ChatRequest)
    assert fields(ResponsesRequest) >= responses_request.TRANSLATED
    assert not fields(ResponsesRequest) & responses_request.REFUSED.keys()
    translated = read("surface.anthropic.decode", "body") | read("surface.anthropic.tools", "body")
    used = (translated | set(anthropic_request._PASSED_THROUGH)) - REFUSED
    assert fields(MessagesRequest) == used | fields(RoutingFields)


def test_the_plugins_that_are_described_are_those_that_work() -> None:
    schema = msgspec.json.schema(PluginOptions)["$defs"]["PluginOptions"]
    assert set(schema["properties"]["id"]["enum"]) == options.PLUGINS


WANTED = parse._EXPECTED | options._TYPED
KINDS = [
    (described, name, kind)
    for described in (ChatRequest, TextRequest, ResponsesRequest, MessagesRequest)
    for name, (kind, _) in WANTED.items()
    if name in fields(described)
]


@pytest.mark.parametrize(("described", "name", "kind"), KINDS)
def test_a_field_has_the_kind_that_the_code_wants(described: type, name: str, kind: type) -> None:
    hint = get_type_hints(described, include_extras=True)[name]
    for other, sample in SAMPLES.items():
        if other is not kind:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(sample, hint)


@pytest.mark.parametrize("name", sorted(fields(ProviderOptions)))
def test_every_field_of_a_provider_may_be_null(name: str) -> None:
    assert msgspec.convert({name: None}, ProviderOptions) == {name: None}


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("no", param="model"),
        NotFound("no", code="model_not_found"),
        NoEndpoint("no", metadata={"removed": {"a/b": "require.zdr: no"}}),
        UpstreamError("no", status=429, retry_after=3.0, metadata={"attempts": [{"endpoint": "a/b", "message": "no"}]}),
    ],
)
def test_a_refusal_is_as_described_on_every_surface(error: ClientError) -> None:
    """Those are closed: a field that is not described is an error here."""
    body = error.body()
    assert msgspec.convert(body, ErrorBody).error.message == error.message
    assert msgspec.convert(openrouter.error_body(error), OpenRouterErrorBody).error.code == error.status
    anthropics = anthropic.error_body(error.status, body["error"])
    assert msgspec.convert(anthropics, AnthropicErrorBody).error.message == error.message
