"""The HTTP request that litellm wants sent is one request, with nothing smuggled into its head."""

import pytest

from gateway.upstream.litellm_request import HostRequest, Refused, request_head
from gateway.upstream.transport.pool import Origin

ORIGIN = Origin("https", "host.example", 443)


def head(url: str = "https://host.example/v1/chat", value: bytes = b"1") -> bytes:
    return request_head(HostRequest("POST", url, [(b"X-One", value), (b"Host", b"other")], b"{}"), ORIGIN)


def test_the_head_names_the_endpoints_host_and_the_bodys_length() -> None:
    assert head().decode().split("\r\n") == [
        "POST /v1/chat HTTP/1.1",
        "Host: host.example",
        "X-One: 1",
        "Accept-Encoding: identity",
        "Content-Length: 2",
        "",
        "",
    ]


@pytest.mark.parametrize("broken", ["\r", "\n", "\r\n"], ids=["CR", "LF", "CR LF"])
def test_a_line_break_ends_no_line_of_the_head(broken: str) -> None:
    with pytest.raises(Refused, match="a line break in a request's head"):
        head(value=f"1{broken}X-Two: 2".encode())
    with pytest.raises(Refused, match="a line break in a request's head"):
        head(url=f"https://host.example/v1{broken}X-Two: 2")
