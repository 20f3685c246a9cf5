"""What the gateway says against the types of SDKs, and that the comparison with documents sees what is wrong."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients.said import Answer, all_answers
from tests.clients.specs import SDKS, Document, is_accepted, of_types

STREAM = {"type": "object", "required": ["data"], "properties": {"data": {"$ref": "#/components/schemas/Chunk"}}}
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/chat": {
            "post": {
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Answer"}},
                            "text/event-stream": {"schema": STREAM},
                        }
                    },
                    "404": {"content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}}},
                }
            }
        }
    },
    "components": {
        "schemas": {
            "Answer": {
                "type": "object",
                "required": ["id", "said"],
                "properties": {
                    "id": {"type": "string", "nullable": True},
                    "said": {"$ref": "#/components/schemas/Said"},
                },
            },
            "Said": {
                "oneOf": [
                    {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["call"]}}},
                    {
                        "type": "object",
                        "required": ["type", "text"],
                        "properties": {"type": {"enum": ["text"]}, "text": {"type": "string"}},
                    },
                ]
            },
            "Chunk": {"type": "object", "required": ["delta"]},
        }
    },
}


@pytest.fixture
def document(tmp_path: Path) -> Document:
    file = tmp_path / "document.json"
    file.write_text(json.dumps(DOCUMENT))
    return Document(file)


def answer(payload: Any, *, status: int = 200, event: bool = False, path: str = "/chat") -> Answer:
    return Answer("test", "/v1", path, "post", status, event, payload)


@pytest.mark.parametrize(
    "good",
    [
        answer({"id": None, "said": {"type": "call"}}),
        answer({"id": "a", "said": {"type": "text", "text": ""}}),
        answer({"delta": {}}, event=True),
        answer({"error": {}}, status=404),
        answer({}, path="/other"),
    ],
)
def test_what_fits_is_no_deviation(document: Document, good: Answer) -> None:
    assert document.deviations(good) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (answer({"id": None}), ["the whole: 'said' is a required property"]),
        (answer({"id": 1, "said": {"type": "call"}}), ["id: 1 is not of type 'string'"]),
        (answer({"id": "a", "said": {"type": "text"}}), ["said: 'text' is a required property"]),
        (answer({}, event=True), ["data: 'delta' is a required property"]),
        (answer({}, status=404), ["the whole: 'error' is a required property"]),
        (answer({}, status=418), ["the status 418 is not documented"]),
    ],
)
def test_what_does_not_fit_is_named_where_it_is_meant(document: Document, bad: Answer, words: list[str]) -> None:
    assert document.deviations(bad) == words


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    return asyncio.run(all_answers(tmp_path_factory.mktemp("said")))


def test_every_route_was_requested_and_streams_too(said: list[Answer]) -> None:
    assert {one.status for one in said} == {200, 400, 401, 404, 413, 422, 429, 502, 503, 504, 524}
    for path in ("/chat/completions", "/completions", "/responses", "/messages"):
        for base in ("/v1", "/api/v1"):
            assert {one.event for one in said if (one.base, one.path, one.status) == (base, path, 200)} == {True, False}


@pytest.mark.parametrize("sdk", ["openrouter", "openrouter-node", "openai-python"])
async def test_strict_types_find_what_is_missing(said: list[Answer], sdk: str) -> None:
    base, lacks = ("/v1", "parallel_tool_calls") if sdk == "openai-python" else ("/api/v1", "presence_penalty")
    whole = next(one for one in said if (one.base, one.path, one.status, one.event) == (base, "/responses", 200, False))
    short = replace(whole, payload={name: value for name, value in whole.payload.items() if name != lacks})
    assert len(await of_types([whole, short], sdk)) == 1


@pytest.mark.parametrize("sdk", SDKS)
async def test_strict_types_find_nothing(said: list[Answer], sdk: str) -> None:
    assert [one for one in await of_types(said, sdk) if not is_accepted(*one)] == []
