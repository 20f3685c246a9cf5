"""The headers that every response has: its request id, and CORS where the setting allows an origin."""

import re

import pytest

from gateway.api.cors import Cors
from gateway.api.response_headers import REQUEST_ID, ResponseHeaders
from gateway.types.sink import Headers

HEADING = ResponseHeaders(Cors(()))
JSON = (b"content-type", b"application/json")


def name(request: dict[bytes, bytes], headers: Headers) -> bytes:
    *before, (header, value) = HEADING(request, headers)
    assert (before, header) == (headers, REQUEST_ID)
    return value


@pytest.mark.parametrize("own", [b"a", b"trace-7f:3/a", b"A.b_c=@+9", b"x" * 128])
def test_a_valid_id_of_the_client_comes_back(own: bytes) -> None:
    assert name({REQUEST_ID: own}, [JSON, (b"x-generation-id", b"gen-1")]) == own


@pytest.mark.parametrize("own", [b"", b"x" * 129, b"a b", b"a\r\nx: y", b"<script>", "\u00e9".encode()])
def test_an_invalid_one_is_replaced_by_the_exchanges_id(own: bytes) -> None:
    assert name({REQUEST_ID: own}, [JSON, (b"x-generation-id", b"gen-1")]) == b"gen-1"
    assert name({REQUEST_ID: own}, [(b"request-id", b"req_1"), JSON]) == b"req_1"


def test_without_any_it_is_a_new_one() -> None:
    names = {name({}, [JSON]) for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(rb"req-[0-9a-f]{20}", one) for one in names)
    assert any(one[4:5] != b"0" for one in names), "the id has 80 random bits"


@pytest.mark.parametrize(("origins", "count"), [((), 2), (("https://a.example",), 5), (("*",), 4)])
def test_cors_headers_are_added_where_the_setting_has_origins(origins: tuple[str, ...], count: int) -> None:
    heading = ResponseHeaders(Cors(origins))
    assert len(heading({b"origin": b"https://a.example"}, [JSON])) == count
    assert heading.cors.preflight({}) is None
