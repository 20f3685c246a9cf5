"""Bodies of strangers are read in a bounded time: what holds too many values is refused before it is read."""

import gc
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.document.bounded_json import MOST, ONE_LESS, SMALL, has_more_values, read_json
from gateway.errors import BadRequest

LARGEST = 16 << 20
MARKS = '"\\,[]{}:\n aé😀'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(MARKS, max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(MARKS, max_size=4), inner, max_size=4),
    max_leaves=30,
)
DUMPS: list[Callable[[Any], bytes]] = [
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode(),
    orjson.dumps,
]


def marks(value: Any) -> int:
    """Brackets, braces and commas of a document, outside of its texts."""
    if not isinstance(value, list | dict):
        return 0
    inner = value if isinstance(value, list) else value.values()
    return 1 + max(0, len(value) - 1) + sum(map(marks, inner))


@given(value=JSON, dumps=st.sampled_from(DUMPS), most=st.integers(0, 40))
def test_values_are_counted_outside_of_texts(value: Any, dumps: Callable[[Any], bytes], most: int) -> None:
    assert has_more_values(dumps(value), most) == (marks(value) > most)


@given(raw=st.text(MARKS, max_size=30).map(str.encode), most=st.integers(0, 40))
def test_what_is_no_json_is_counted_too(raw: bytes, most: int) -> None:
    assert has_more_values(raw, most) in (True, False)


TEXTS = {
    "prose": "Well, yes, of course, and so on. ",
    "code": 'if (a[i] == {"k": [1, 2]}) {\n\t"\\d"\n}\n',
    "JSON": '{"a":1,"b":[true,{"c":"d"}]},',
    "backslashes": "C:\\dir\\[a],{b}\\\\",
    "the ends of texts": '\\","',
    "lines of numbers": "1,2,3,4\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_a_prompt_is_never_refused_for_what_its_text_holds(text: str) -> None:
    """Four million bytes: a million tokens, more than hosts take."""
    body = {"messages": [{"role": "user", "content": text * (3_000_000 // len(text))}]}
    assert read_json(orjson.dumps(body)) == body


def test_a_text_may_be_as_long_as_a_body_and_hold_what_it_likes() -> None:
    body = {"messages": [{"role": "user", "content": "a, b, [c], {d}. " * ((LARGEST >> 4) - 10)}]}
    assert read_json(orjson.dumps(body)) == body


def repeated(piece: bytes, size: int = LARGEST) -> bytes:
    return b'{"a":[' + (piece + b",") * (size // (len(piece) + 1) - 1) + piece + b"]}"


@pytest.mark.parametrize(
    "piece",
    [b"[" * 190 + b"]" * 190, b"[]", b"{}", b"1", b"1.5", b'""', b"null", b'{"a":1}', b'"\\"",[]', b'"a\\\\",{}'],
)
@pytest.mark.parametrize("size", [1 << 20, LARGEST])
def test_many_small_values_are_refused_unread(piece: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orjson, "loads", lambda _: pytest.fail("it was read"))
    with pytest.raises(BadRequest, match="too many lists, objects and values"):
        read_json(repeated(piece, size))


@pytest.mark.parametrize("start", [b"[", b"{", b'{"a":', b'[{"a":[', b'",[', b'"\\",['])
def test_what_is_cut_off_is_refused_unread_too(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orjson, "loads", lambda _: pytest.fail("it was read"))
    with pytest.raises(BadRequest):
        read_json(start * (LARGEST // len(start)))


def test_a_larger_body_may_hold_fewer_values() -> None:
    """Both take time, and the sum is bounded."""
    values = MOST - SMALL // ONE_LESS - 1_000
    assert len(read_json(b'{"b":"' + b"x" * SMALL + b'",' + repeated(b"[]", values * 3 // 2)[1:])["a"]) > MOST // 3
    with pytest.raises(BadRequest):
        read_json(b'{"b":"' + b"x" * (LARGEST // 2) + b'",' + repeated(b"[]", values * 3 // 2 + 60_000)[1:])


def test_megabytes_of_escapes_before_many_marks_are_refused() -> None:
    """Taking the texts out would take long."""
    with pytest.raises(BadRequest, match="too many escapes"):
        read_json(b'{"a":"' + b'\\"\\n,' * (LARGEST // 5) + b'"}')


@pytest.mark.parametrize("raw", [b'{"a":' + b"1," * 50_000, b'{"a":1}'])
def test_the_collector_goes_on_afterwards(raw: bytes) -> None:
    with suppress(orjson.JSONDecodeError):
        read_json(raw)
    assert gc.isenabled()


def test_the_collector_rests_while_a_large_body_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(orjson, "loads", lambda _: seen.append(gc.isenabled()))
    read_json(b"[" * 100_000)
    read_json(b"[]")
    assert seen == [False, True]
