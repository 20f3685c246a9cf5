"""Compressed bodies: unpacked within the limit, or refused in words; every POST route, over either sink."""

import gzip
import json
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, TooLarge, UnknownCoding
from gateway.intake import content_encoding as unpack
from gateway.intake.content_encoding import MOST_CODINGS, MOST_FRAMES, TAKEN, unpacked
from tests.support.gateway import Gateway
from tests.support.host import ScriptedHost, answers, completion

LIMIT = 1 << 16
HELLO = b'{"hello": "world"}' * 20
QUESTION: dict[str, Any] = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": QUESTION,
    "/chat/completions": QUESTION,
    "/api/v1/chat/completions": QUESTION,
    "/v1/completions": {"model": "deepseek-v3.2", "prompt": "Hi"},
    "/v1/responses": {"model": "deepseek-v3.2", "input": "Hi"},
    "/api/v1/responses": {"model": "deepseek-v3.2", "input": "Hi"},
    "/v1/messages": {**QUESTION, "max_tokens": 100},
    "/v1/messages/count_tokens": QUESTION,
    "/v1/explain": QUESTION,
}


def gzipped(data: bytes) -> bytes:
    """The same bytes at any time: workers of the tests must find the same names of them."""
    return gzip.compress(data, mtime=0)


def deflated(data: bytes, bits: int = -15) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        (b"gzip", gzipped(HELLO)),
        (b"GZIP", gzipped(HELLO)),
        (b"x-gzip", gzipped(HELLO)),
        (b"gzip", gzipped(HELLO[:50]) + gzipped(HELLO[50:])),
        (b"gzip", gzipped(HELLO) + b"\0" * 100),
        (b"deflate", deflated(HELLO, 15)),
        (b"deflate", deflated(HELLO)),
        (b"deflate, gzip", gzipped(deflated(HELLO))),
        (b"identity, gzip", gzipped(HELLO)),
        (b"identity", HELLO),
        (b"", HELLO),
    ],
)
def test_what_was_packed_comes_out(codings: bytes, body: bytes) -> None:
    assert unpacked(body, codings, LIMIT) == HELLO


@given(st.binary(max_size=2000), st.lists(st.sampled_from(["gzip", "deflate", "identity"]), max_size=MOST_CODINGS))
def test_any_bytes_come_back(data: bytes, codings: list[str]) -> None:
    packed = data
    for name in codings:
        packed = {"gzip": gzipped, "deflate": zlib.compress, "identity": bytes}[name](packed)
    assert unpacked(packed, ", ".join(codings).encode(), LIMIT) == data


@given(st.sampled_from([b"gzip", b"deflate", *(name.encode() for name in TAKEN)]), st.binary(max_size=200))
def test_any_rubbish_is_refused_or_read(coding: bytes, body: bytes) -> None:
    with suppress(BadRequest, TooLarge):
        assert len(unpacked(body, coding, LIMIT)) <= LIMIT


@pytest.mark.parametrize(
    ("codings", "body", "words"),
    [
        (b"gzip", b"{}", "is gzip, but the body is not"),
        (b"gzip", b"", "is truncated"),
        (b"gzip", gzipped(HELLO)[:-9], "is truncated"),
        (b"gzip", gzipped(HELLO) + b"more", "is gzip, but the body is not"),
        (b"deflate", deflated(HELLO)[:9], "is truncated"),
        (b"gzip, gzip, gzip", HELLO, f"more than {MOST_CODINGS} codings"),
        (b"gzip", gzipped(b"") * (MOST_FRAMES + 1), f"more than {MOST_FRAMES} frames"),
    ],
)
def test_what_cannot_be_unpacked_is_said(codings: bytes, body: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        unpacked(body, codings, LIMIT)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("over", [1, 50_000_000])
def test_a_bomb_is_too_large(over: int, layers: int) -> None:
    body = b"\0" * (LIMIT + over)
    for _ in range(layers):
        body = gzipped(body)
    with pytest.raises(TooLarge):
        unpacked(body, b", ".join([b"gzip"] * layers), LIMIT)
    assert unpacked(gzipped(b"\0" * LIMIT), b"gzip", LIMIT) == b"\0" * LIMIT


def test_an_unknown_coding_is_named_and_what_would_be_right() -> None:
    with pytest.raises(UnknownCoding) as refused:
        unpacked(HELLO, b"gzip, br", LIMIT)
    assert "`br`" in refused.value.message
    assert refused.value.headers() == [(b"accept-encoding", ", ".join(TAKEN).encode())]


@pytest.mark.skipif("zstd" not in TAKEN, reason="this Python has no compression.zstd")
def test_zstd_where_python_has_it() -> None:
    make = unpack.import_module("compression.zstd").compress
    assert unpacked(make(HELLO) + make(HELLO), b"zstd", LIMIT) == HELLO * 2
    with pytest.raises(TooLarge):
        unpacked(make(b"\0" * (LIMIT + 1)), b"zstd", LIMIT)
    with pytest.raises(BadRequest, match="is truncated"):
        unpacked(make(HELLO)[:-3], b"zstd", LIMIT)
    with pytest.raises(BadRequest, match="and the body is not"):
        unpacked(HELLO, b"zstd", LIMIT)


@pytest.mark.parametrize("path", BODIES)
async def test_every_route_takes_them(gateway: Gateway, path: str) -> None:
    body = json.dumps(BODIES[path]).encode()
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"own/host": host.url}, max_body="64KiB") as running,
    ):

        async def asked(data: bytes, coding: str) -> Any:
            headers = {"content-encoding": coding, "content-type": "application/json"}
            return await running.client.post(path, content=data, headers=headers)

        good = await asked(gzipped(body), "gzip")
        assert good.status_code == 200, good.text
        assert (await asked(zlib.compress(body), "deflate")).status_code == 200
        assert (await asked(gzipped(body)[:-9], "gzip")).status_code == 400
        assert (await asked(gzipped(body + b" " * LIMIT), "gzip")).status_code == 413
        unknown = await asked(body, "br")
        assert unknown.status_code == 415
        assert "`br`" in unknown.text
        assert unknown.headers["accept-encoding"] == ", ".join(TAKEN)


async def test_the_host_is_sent_what_the_client_meant(gateway: Gateway) -> None:
    body = b'{"model": "deepseek-v3.2",  "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}'
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"own/host": host.url}) as running:
        await running.client.post("/v1/chat/completions", content=gzipped(body), headers={"content-encoding": "gzip"})
    (sent,) = host.requests
    assert "content-encoding" not in sent.headers
    assert body[body.index(b"  ") :] in sent.body, "the client's own bytes, but for the model and what is added"
