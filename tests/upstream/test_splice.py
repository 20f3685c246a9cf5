import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.splice import REACH, spliced

SAID = {"messages": [{"role": "user", "content": 'a "model": "m" in a text'}], "temperature": 0.7}
USAGE = {"stream_options": {"include_usage": True}}

words = st.sampled_from(["model", "m", "other", '"model":"m"', "{", '\\"model', "user", "\u00e9"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
bodies = st.lists(st.tuples(words | st.just("messages"), values), max_size=6).map(dict)


@pytest.mark.parametrize("model_first", [True, False])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("added", [{}, USAGE])
def test_what_sdks_send_goes_out_as_it_came(
    model_first: bool, separators: tuple[str, str], added: dict[str, Any]
) -> None:
    body = {"model": "m", **SAID} if model_first else {**SAID, "model": "m", "stream": False}
    raw = json.dumps(body, separators=separators).encode()
    out = spliced(raw, body, "host/model", added)
    assert out is not None
    assert orjson.loads(out) == {**body, "model": "host/model", **added}
    assert json.dumps(SAID["messages"], separators=separators).encode() in out


def test_a_long_conversation_before_the_model_is_not_in_the_way() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 10 * REACH}], "model": "m"}
    assert spliced(orjson.dumps(body), body, "n", {}) == orjson.dumps({**body, "model": "n"})


@pytest.mark.parametrize(
    "raw",
    [
        b'{"metadata":{"model":"m"}}',
        b'[{"model":"m"}]',
        b'{"user":"model"}',
        b'{"x":"\\"model\\":\\"m\\""}',
        b"",
    ],
)
def test_what_only_looks_like_the_model_is_left_alone(raw: bytes) -> None:
    assert spliced(raw, {"model": "m"}, "n", {}) is None


@given(
    before=bodies,
    after=bodies,
    model=words,
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 1]),
    added=st.sampled_from([{}, {"added": {"on": True}}]),
)
def test_nothing_else_changes(
    before: dict[str, Any],
    after: dict[str, Any],
    model: str,
    ascii_only: bool,
    indent: int | None,
    added: dict[str, Any],
) -> None:
    body = {**before, "model": model, **{name: value for name, value in after.items() if name != "model"}}
    out = spliced(json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode(), body, "host", added)
    assert out is None or list(orjson.loads(out).items()) == [*added.items(), *{**body, "model": "host"}.items()]
