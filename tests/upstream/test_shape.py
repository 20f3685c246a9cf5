"""A host's JSON becomes the JSON that clients of `/v1` read."""

from typing import Any

import pytest

from gateway.upstream import shape
from gateway.upstream.shape import OPENAI, OpenAIShape


def test_reasoning_gets_the_name_that_clients_read() -> None:
    assert OPENAI.chunk({"choices": [{"delta": {"reasoning": "Hm"}}]}) == {
        "choices": [{"delta": {"reasoning_content": "Hm"}}]
    }


def test_reasoning_under_both_names_is_kept_once() -> None:
    delta = {"reasoning": "Hm", "reasoning_content": "Hm"}
    assert OPENAI.chunk({"choices": [{"delta": delta}]})["choices"][0]["delta"] == {"reasoning_content": "Hm"}


@pytest.mark.parametrize("key", ["tool_calls", "audio", "function_call", "annotations", "reasoning_details"])
@pytest.mark.parametrize("nothing", [None, []])
def test_keys_that_clients_refuse_as_null_are_absent(key: str, nothing: Any) -> None:
    assert OPENAI.chunk({"choices": [{"delta": {"content": "a", key: nothing}}]}) == {
        "choices": [{"delta": {"content": "a"}}]
    }


def test_null_usage_and_fingerprint_leave_a_chunk() -> None:
    assert OPENAI.chunk({"choices": [], "usage": None, "system_fingerprint": None}) == {"choices": []}
    assert OPENAI.chunk({"choices": [], "system_fingerprint": "fp"}) == {"choices": [], "system_fingerprint": "fp"}


def test_unknown_fields_stay() -> None:
    payload = {"choices": [{"delta": {"content": "a"}, "matched_stop": 1}], "prompt_logprobs": None}
    assert OPENAI.chunk(dict(payload)) == payload


def test_a_whole_answer_has_our_names_and_usage_and_what_strict_types_want() -> None:
    message = {"role": "assistant", "content": "a", "audio": None, "tool_calls": None, "reasoning": None}
    payload = {"model": "host/model", "choices": [{"message": message}], "usage": None, "system_fingerprint": None}
    assert OpenAIShape("own/model").completion(payload, {"cost": 0.5}) == {
        "model": "own/model",
        "choices": [
            {
                "message": {"role": "assistant", "content": "a", "reasoning_content": None, "refusal": None},
                "logprobs": None,
            }
        ],
        "usage": {"cost": 0.5},
    }


def test_what_a_host_says_of_these_stays() -> None:
    choice = {"message": {"content": None, "refusal": "No"}, "logprobs": {"content": []}}
    told = OPENAI.completion({"model": "m", "choices": [choice], "system_fingerprint": "fp"}, {})
    assert (told["model"], told["system_fingerprint"]) == ("m", "fp")
    assert told["choices"] == [
        {"message": {"content": None, "refusal": "No"}, "logprobs": {"content": [], "refusal": None}}
    ]


def test_logprobs_of_a_chunk_name_the_refusals() -> None:
    chunk = OPENAI.chunk({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": []}}]})
    assert chunk["choices"][0]["logprobs"] == {"content": [], "refusal": None}


@pytest.mark.parametrize(
    "part", [None, {}, {"content": ""}, {"content": None, "role": "assistant"}, {"tool_calls": []}]
)
def test_nothing_is_said(part: Any) -> None:
    assert not shape.has_content(part)


@pytest.mark.parametrize("key", ["content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call"])
def test_something_is_said(key: str) -> None:
    assert shape.has_content({key: "a"})
