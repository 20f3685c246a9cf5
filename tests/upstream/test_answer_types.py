"""Which whole answers need no normalising: for those, normalising would change nothing."""

from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.document.nesting import DEEPEST
from gateway.types import Failure
from gateway.upstream.answer_types import plain_answer
from gateway.upstream.normaliser import Normaliser

PLAIN: dict[str, Any] = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
ODD = [None, "", "x", 0, 1, 1.5, True, [], {}, [1], {"a": []}, "stop", "chat.completion"]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"system_fingerprint": None, "service_tier": "default"},
        {"prompt_logprobs": None, "a_field_of_the_host": 1.5},
        {"usage": {"prompt_tokens_details": {"cached_tokens": None, "by_host": {"x": [1]}}}},
    ],
)
def test_an_ordinary_answer_is_plain(more: dict[str, Any]) -> None:
    assert plain_answer({**PLAIN, **more}) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"error": {"message": "overloaded"}},
        {"choices": []},
        {"choices": PLAIN["choices"] * 2},
        {"created": 1.5},
        {"id": 7},
        {"a_field_of_the_host": {"a": 1}},
        {"a_field_of_the_host": [1]},
    ],
)
def test_an_answer_that_needs_a_second_look_is_not(more: dict[str, Any]) -> None:
    assert plain_answer({**PLAIN, **more}) is None


@pytest.mark.parametrize("levels", [DEEPEST - 2, DEEPEST + 1, 300])
def test_an_answer_that_is_plain_but_for_a_deep_field_is_read_as_any_other(levels: int) -> None:
    answer = Normaliser().whole(
        orjson.dumps(PLAIN)[:-1] + b',"more":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"
    )
    assert isinstance(answer, Failure) is (levels > DEEPEST)


def test_usage_is_the_gateways_own_so_it_may_be_deep() -> None:
    answer = Normaliser().whole(orjson.dumps({**PLAIN, "usage": {"prompt_tokens": 1, "more": deep(240)}}))
    assert not isinstance(answer, Failure)


@given(st.data())
def test_of_what_is_plain_normalising_changes_nothing(data: st.DataObject) -> None:
    payload = deepcopy(PLAIN)
    choice = payload["choices"][0]
    for part in (payload, choice, choice["message"]):
        names = st.sampled_from(
            [*part, "error", "logprobs", "refusal", "reasoning_content", "reasoning", "text", "delta"]
        )
        part.update(data.draw(st.dictionaries(names, st.sampled_from(ODD), max_size=2)))
    if plain_answer(payload) is not None:
        assert Normaliser()._read(deepcopy(payload), False, "message", "", "") == payload
