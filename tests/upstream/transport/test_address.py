"""Where requests to OpenAI-compatible endpoints go, and their heads."""

import pytest

from gateway import __version__
from gateway.errors import ConfigError
from gateway.types import Endpoint, Fault
from gateway.upstream.transport.address import Address
from gateway.upstream.transport.connection import Call
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.transport import Transport


class Overheard(Transport):
    """A transport that sends nothing and keeps the head."""

    head = b""

    def send(self, origin: Origin, head: bytes, body: bytes, receiver: object, connect_timeout: float) -> Call:
        self.head = head
        return object.__new__(Call)


class Nobody:
    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_complete(self) -> None: ...
    def on_lost(self, fault: Fault, message: str) -> None: ...


def head(address: Address, length: int) -> bytes:
    """The head of a request whose body has this many bytes."""
    transport = Overheard()
    address.send(transport, b"x" * length, Nobody(), 1.0)
    return transport.head


def at(base_url: str | None, env: str | None = "HOST_KEY") -> Endpoint:
    return Endpoint(id="host/fp8", provider="host", base_url=base_url, model="m", api_key_env=env)


def test_the_head_of_a_request() -> None:
    assert head(Address(at("https://api.host.ai/openai/v1/"), "sk-123"), 42) == (
        b"POST /openai/v1/chat/completions HTTP/1.1\r\n"
        b"Host: api.host.ai\r\n"
        b"User-Agent: llm-routing-gateway/" + __version__.encode() + b"\r\n"
        b"Accept: application/json, text/event-stream\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\n"
        b"Authorization: Bearer sk-123\r\n"
        b"Content-Length: 42\r\n\r\n"
    )


def test_further_header_lines_come_last() -> None:
    transport, address = Overheard(), Address(at("https://api.host.ai/v1"), None)
    address.send(transport, b"x", Nobody(), 1.0, b"traceparent: 00-1\r\n")
    assert transport.head.endswith(b"\r\nContent-Length: 1\r\ntraceparent: 00-1\r\n\r\n")


def test_a_host_without_a_key_gets_no_authorization() -> None:
    assert b"Authorization" not in head(Address(at("http://127.0.0.1:8000/v1"), None), 1)


PLACES = {
    "https://api.host.ai/v1": (Origin("https", "api.host.ai", 443), b"/v1/chat/completions", b"api.host.ai"),
    "http://127.0.0.1:8000": (Origin("http", "127.0.0.1", 8000), b"/chat/completions", b"127.0.0.1:8000"),
    "http://host:80/v1": (Origin("http", "host", 80), b"/v1/chat/completions", b"host"),
    "http://[::1]:8000/v1": (Origin("http", "::1", 8000), b"/v1/chat/completions", b"[::1]:8000"),
    "https://r.azure.com/v1?api-version=1": (
        Origin("https", "r.azure.com", 443),
        b"/v1/chat/completions?api-version=1",
        b"r.azure.com",
    ),
}


@pytest.mark.parametrize("url", PLACES)
def test_where_a_request_goes(url: str) -> None:
    origin, target, host = PLACES[url]
    address = Address(at(url), None)
    assert address.origin == origin
    assert head(address, 0).startswith(b"POST " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n")


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "api.host.ai/v1",
        "ftp://host/v1",
        "https:///v1",
        "https://u:secret@host/v1",
        "https://host:99999/v1",
        "https://host/v1\r\nX-Evil: 1",
        "https://[::1/v1",
        "https://höst/v1",
    ],
)
def test_a_bad_url_is_a_config_error_that_shows_no_password(url: str | None) -> None:
    with pytest.raises(ConfigError, match="endpoint host/fp8: base_url") as caught:
        Address(at(url), None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "secret\r\nX-Evil: 1", "secret\n", "secret key", "sécret"])
def test_a_key_that_cannot_stand_in_a_header_is_named_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="HOST_KEY must be printable") as caught:
        Address(at("https://host/v1"), key)
    assert "cret" not in str(caught.value)


def test_an_address_hides_its_key() -> None:
    assert repr(Address(at("https://host/v1"), "sk-1")) == "Address('https://host/v1/chat/completions', api_key=***)"
    assert repr(Address(at("http://host:8/v1"), None)) == "Address('http://host:8/v1/chat/completions', api_key=None)"
