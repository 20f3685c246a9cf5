"""Not-quite JSON is read where it can mean one thing only; whole characters come out of halves."""

import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repair.lenient_json import all_mended, joined, loads, mended

DEEP = b"[" * 300 + b"]" * 300
SMILE = "\U0001f600"
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b'{"a": NaN, "b": Infinity, "c": -Infinity}', {"a": None, "b": None, "c": -9999.0}),
        (b'{"a": [1, 2,], "b": {"c": ",]",},}', {"a": [1, 2], "b": {"c": ",]"}}),
        (b'{"a": "b\nc\td"}', {"a": "b\nc\td"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": NaN, "b": 123456789012345678901234567890}', {"a": None, "b": 1.2345678901234568e29}),
        (b'{"a": NaN, "b": 1e999}', {"a": None, "b": float("inf")}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a\\ud83d": "\\ud83d"}', {"a\ufffd": "\ufffd"}),
        (b'{"a": "\\ud83d\\ude00", "b": NaN}', {"a": SMILE, "b": None}),
    ],
)
def test_what_can_mean_one_thing_is_read(data: bytes, payload: Any) -> None:
    read, odd = loads(data)
    assert odd
    assert all_mended(read) == payload
    orjson.dumps(all_mended(read))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b'{"a": ', b'{"a": "b', b'{"a" 1}', b"{'a': 1}", b'{"a": 1} {}', b"[1]", b"1", b"null"),
        *(b"{" * 100_000, b'{"a": ' + DEEP + b"}", b'{"a": NaN, "b": ' + DEEP + b"}"),
    ],
)
def test_what_may_mean_something_else_is_not(data: bytes) -> None:
    assert loads(data)[0] is None


@given(st.dictionaries(st.text(), anything, max_size=3))
def test_json_is_read_as_it_is(payload: Any) -> None:
    assert loads(orjson.dumps(payload)) == (payload, False)


@given(st.binary(max_size=60))
def test_whatever_is_read_can_be_written(data: bytes) -> None:
    for noise in (data, b'{"a":' + data + b"}", b'{"a":"' + data + b'"}'):
        payload, _ = loads(noise)
        if payload is not None:
            orjson.dumps(all_mended(payload))


@given(st.text(), st.lists(st.integers(0, 100)), st.booleans())
def test_a_text_cut_anywhere_is_joined(text: str, places: list[int], as_bytes: bool) -> None:
    """Between the halves of its characters as UTF-16, as JSON escapes them; or between the bytes of UTF-8."""
    data = text.encode("utf-8" if as_bytes else "utf-16-le")
    size = 1 if as_bytes else 2
    borders = sorted({0, len(data), *(place % (len(data) // size + 1) * size for place in places)})
    told, held = "", ""
    for one in (data[start:end] for start, end in pairwise(borders)):
        piece = one.decode("utf-8", "surrogateescape") if as_bytes else one.decode("utf-16-le", "surrogatepass")
        piece, held = joined(piece, held)
        piece.encode()
        told += piece
    assert told + mended(held) == text


def test_halves_that_stay_alone_are_lost_characters() -> None:
    assert joined("a\ud83d") == ("a", "\ud83d")
    assert joined("b", "\ud83d") == ("\ufffdb", "")
    assert joined("\ude00b", "\ud83d") == (SMILE + "b", "")
    assert mended("a\ud83db\ude00") == "a\ufffdb\ufffd"
    assert all_mended({"a\ud83d": ["\ude00", 1, None]}) == {"a\ufffd": ["\ufffd", 1, None]}


def test_a_comma_inside_a_string_stays() -> None:
    assert loads(b'{"a": "\\",}", }')[0] == {"a": '",}'}


def test_it_agrees_with_python_where_json_is_sound() -> None:
    data = b'{"a": [1.5, "\\u00e4", {"b": null}]}'
    assert loads(data)[0] == json.loads(data)
