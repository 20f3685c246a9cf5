"""Bodies that are not quite JSON: what means one thing only is read, the rest is refused in words."""

import codecs
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.intake.lenient_body import LARGEST, MOST_ESCAPES, reread
from tests.support.gateway import Gateway
from tests.support.host import Received, ScriptedHost, answers, completion

CUT = rb'"cut \ud83d off"'


def read(raw: bytes) -> Any:
    with pytest.raises(orjson.JSONDecodeError) as refused:
        orjson.loads(raw)
    payload, text = reread(raw, refused.value)
    assert orjson.loads(text) == payload
    return payload


@pytest.mark.parametrize(
    ("raw", "means"),
    [
        (CUT, "cut \ufffd off"),
        (rb'"\uDE00"', "\ufffd"),
        (rb'"\ud83d\ud83d\ude00\ude00"', "\ufffd😀\ufffd"),
        (rb'"\ud83d\u0041"', "\ufffdA"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (rb'"\\ud83d\ude00"', "\\ud83d\ufffd"),
        (rb'"\ud83d\\ude00"', "\ufffd\\ude00"),
        (rb'{"\ud83d": ["\ud83d"]}', {"\ufffd": ["\ufffd"]}),
        (b'"a\xed\xa0\xbdb"', "a\ufffdb"),
        (b'"\xed\xa0\xbd\xed\xb8\x80"', "😀"),
        (codecs.BOM_UTF8 + b'{"a": 1}', {"a": 1}),
        (codecs.BOM_UTF8 + CUT, "cut \ufffd off"),
    ],
)
def test_what_means_one_thing_only_is_read(raw: bytes, means: Any) -> None:
    assert read(raw) == means


@given(st.lists(st.sampled_from(["a", "\\\\", "\\n", "\\ud83d", "\\ude00", "\\u0041", "\\\\ud83d", "é", "😀"])))
def test_it_is_read_as_json_itself_would(parts: list[str]) -> None:
    raw = f'"{"".join(parts)}"'.encode()
    means = json.loads(raw).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        found, _ = reread(raw, error)
    assert found == means


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"a": NaN}', "NaN is not valid JSON"),
        (b'{"a": -Infinity}', "Infinity is not valid JSON"),
        (b'{"a": 1e999}', "number is infinity"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        ('{"a": 1}'.encode("utf-32"), "UTF-16 or UTF-32"),
        ('{"a": "Größe"}'.encode("latin-1"), "it is not UTF-8"),
        (b"", "empty document"),
        (b'{"a":', "unexpected end of data"),
        (b"\x1f\x8b\x08\x00", "it is not UTF-8"),
        (rb'"\ud83', "the body is not JSON"),
    ],
)
def test_the_rest_is_refused_in_words(raw: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match="the body is not JSON") as refused:
        read(raw)
    assert words in refused.value.message


@pytest.mark.parametrize("raw", [b'"%b"' % (rb"\ud83d" * (MOST_ESCAPES + 1)), b'"%b\\ud83d"' % (b" " * LARGEST)])
def test_no_body_is_looked_at_for_long(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        read(raw)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions", "/v1/messages"])
async def test_a_conversation_that_was_cut_in_an_emoji_goes_on(gateway: Gateway, path: str) -> None:
    body = b'{"model": "deepseek-v3.2", "max_tokens": 9, "messages": [{"role": "user", "content": %b}]}' % CUT
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"own/host": host.url}) as running:
        for sent in (body, codecs.BOM_UTF8 + body):
            assert (await running.client.post(path, content=sent)).status_code == 200
    assert [one["messages"][-1]["content"] for one in map(Received.json, host.requests)] == ["cut \ufffd off"] * 2
