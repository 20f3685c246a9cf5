"""Where requests to OpenAI-compatible endpoints go, and their heads."""

import asyncio
from collections.abc import Callable, Iterable

import pytest

from gateway import __version__
from gateway.errors import ConfigError
from gateway.types import Endpoint
from gateway.upstream.transport.address import Address
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.transport import Transport
from tests.support.host import ScriptedHost, answers
from tests.upstream.recorder import Recorder


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: asyncio.Queue[bytes] = asyncio.Queue()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.written.put_nowait(b"".join(list_of_data))

    def abort(self) -> None: ...


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The other end of every connection that the loop makes."""
    wire = Wire()

    async def connect(make: Callable[[], asyncio.Protocol], *_: object, **__: object) -> object:
        protocol = make()
        protocol.connection_made(wire)
        return wire, protocol

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    return wire


async def head(wire: Wire, endpoint: Endpoint, key: str | None, length: int, headers: bytes = b"") -> bytes:
    """The head of a request whose body has this many bytes."""
    transport = Transport()
    Address(endpoint, key, transport).send(b"x" * length, Recorder(), 5.0, headers)
    async with asyncio.timeout(60):
        written = await wire.written.get()
    transport.close()
    return written.removesuffix(b"x" * length)


def at(base_url: str | None, env: str | None = "HOST_KEY") -> Endpoint:
    return Endpoint(id="host/fp8", provider="host", base_url=base_url, model="m", api_key_env=env)


async def test_the_head_of_a_request(wire: Wire) -> None:
    assert await head(wire, at("https://api.host.ai/openai/v1/"), "sk-123", 42) == (
        b"POST /openai/v1/chat/completions HTTP/1.1\r\n"
        b"Host: api.host.ai\r\n"
        b"User-Agent: llm-routing-gateway/" + __version__.encode() + b"\r\n"
        b"Accept: application/json, text/event-stream\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\n"
        b"Authorization: Bearer sk-123\r\n"
        b"Content-Length: 42\r\n\r\n"
    )


async def test_further_header_lines_come_last(wire: Wire) -> None:
    written = await head(wire, at("https://api.host.ai/v1"), None, 1, b"traceparent: 00-1\r\n")
    assert written.endswith(b"\r\nContent-Length: 1\r\ntraceparent: 00-1\r\n\r\n")


async def test_a_host_without_a_key_gets_no_authorization(wire: Wire) -> None:
    assert b"Authorization" not in await head(wire, at("http://127.0.0.1:8000/v1"), None, 1)


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
async def test_where_a_request_goes(wire: Wire, url: str) -> None:
    origin, target, host = PLACES[url]
    assert Address(at(url), None, Transport()).origin == origin
    written = await head(wire, at(url), None, 0)
    assert written.startswith(b"POST " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n")


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
        Address(at(url), None, Transport())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "secret\r\nX-Evil: 1", "secret\n", "secret key", "sécret"])
def test_a_key_that_cannot_stand_in_a_header_is_named_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="HOST_KEY must be printable") as caught:
        Address(at("https://host/v1"), key, Transport())
    assert "cret" not in str(caught.value)


def test_an_address_hides_its_key() -> None:
    secret, none = (
        Address(at("https://host/v1"), "sk-1", Transport()),
        Address(at("http://host:8/v1"), None, Transport()),
    )
    assert repr(secret) == "Address('https://host/v1/chat/completions', api_key=***)"
    assert repr(none) == "Address('http://host:8/v1/chat/completions', api_key=None)"


async def answered(address: Address) -> bytes:
    receiver = Recorder()
    address.send(b"{}", receiver, 5.0)
    return (await receiver.ended()).body


async def test_endpoints_of_one_origin_share_their_connections(transport: Transport) -> None:
    async with ScriptedHost(answers(200, b"hello")) as host:
        for path in ("v1", "v2"):
            assert await answered(Address(at(f"{host.url}/{path}"), None, transport)) == b"hello"
        assert (host.accepted, repr(transport).count("<Pool")) == (1, 1)


async def test_an_address_takes_the_new_pool_where_its_own_was_dropped(transport: Transport) -> None:
    """Else two pools would have connections to the same origin, and closing the transport would leave some open."""
    hello = answers(200, b"hello")
    async with ScriptedHost([answers(200, b"", {"connection": "close"}), hello, hello]) as host:
        address = Address(at(f"{host.url}/v1"), None, transport)
        assert await answered(address) == b""
        await host.until(lambda: "busy=0" in repr(transport))
        async with ScriptedHost(hello) as other:
            assert await answered(Address(at(f"{other.url}/v1"), None, transport)) == b"hello"
            assert "idle=1" in repr(transport)
            assert str(host.port) not in repr(transport)
            assert await answered(address) == b"hello"
            assert await answered(Address(at(f"{host.url}/v1"), None, transport)) == b"hello"
            assert host.accepted == 2
        transport.close()
        await host.until(lambda: host.connections[-1].closed.is_set())


async def test_a_closed_transport_refuses(transport: Transport) -> None:
    async with ScriptedHost(answers(200, b"hello")) as host:
        address, receiver = Address(at(f"{host.url}/v1"), None, transport), Recorder()
        assert await answered(address) == b"hello"
        transport.close()
        address.send(b"{}", receiver, 5.0)
        assert (await receiver.ended()).fault == "refused"
