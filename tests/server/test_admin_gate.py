"""The model page and the metrics with an admin key: closed to everybody else, and to nobody without one."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load
from gateway.errors import ConfigError
from gateway.server.admin_gate import AdminGate
from tests.support.gateway import Gateway, gateway_command
from tests.support.host import ScriptedHost, answers, completion

KEY = "sk-admin-0123456789"
GATE = AdminGate(sha256(KEY.encode()).digest())
CLOSED = ("/", "/metrics", "/page/model.json", "/page/static/page.js", "/page/events", "/models/deepseek/deepseek-v3.2")
OPEN = ("/health", "/health/ready", "/v1/models", "/models", "/openapi.json", "/api/v1/models", "/metricsx", "/pages")


def basic(user: str, password: str) -> bytes:
    return b"Basic " + b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "sent", [f"Bearer {KEY}".encode(), f"bearer  {KEY} ".encode(), basic("", KEY), basic("me", KEY)]
)
def test_the_key_opens_what_it_closes(path: str, sent: bytes) -> None:
    assert GATE.refusal(path, {b"authorization": sent}) is None


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"Bearer",
        b"Bearer x",
        b"Basic",
        b"Basic ???",
        b"Basic \xff",
        basic(KEY, ""),
        basic("", KEY + "x"),
        KEY.encode(),
    ],
)
def test_anything_else_does_not(path: str, sent: bytes) -> None:
    error = GATE.refusal(path, {b"authorization": sent})
    assert error is not None
    assert (error.status, dict(error.headers())[b"www-authenticate"][:5]) == (401, b"Basic")


@pytest.mark.parametrize("path", ["/api/v1/keys", "/api/v1/keys/app", "/api/v1/keys/app/rotate"])
def test_keys_are_managed_with_a_bearer_token_only(path: str) -> None:
    """Another web page can make a browser that knows the password send it."""
    assert GATE.refusal(path, {b"authorization": f"Bearer {KEY}".encode()}) is None
    for sent in (b"", basic("", KEY), basic("me", KEY)):
        error = GATE.refusal(path, {b"authorization": sent})
        assert error is not None
        assert error.status == 401
    error = AdminGate(None).refusal(path, {b"authorization": f"Bearer {KEY}".encode()})
    assert error is not None
    assert (error.status, error.code) == (403, "admin_key_not_set")


@given(st.binary(max_size=60))
def test_no_other_header_opens_it(sent: bytes) -> None:
    assert GATE.refusal("/metrics", {b"authorization": sent}) is not None


@pytest.mark.parametrize("path", OPEN)
def test_other_routes_are_not_its_business(path: str) -> None:
    assert GATE.refusal(path, {}) is None


@pytest.mark.parametrize("path", CLOSED)
def test_without_a_key_all_is_open(path: str) -> None:
    assert AdminGate(None).refusal(path, {}) is None


async def test_a_gateway_whose_pages_are_closed(gateway: Gateway) -> None:
    environ = {"GATEWAY_API_KEYS": "app:sk-client", "GATEWAY_ADMIN_KEY": KEY}
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"own/host": host.url}, environ=environ) as running,
    ):
        for path in ("/", "//", "/metrics", "//metrics/", "/page//static/icon.svg", "/%6detrics"):
            for method in ("GET", "HEAD"):
                for headers in ({}, {"authorization": "Bearer sk-client"}, {"x-api-key": KEY}):
                    refused = await running.client.request(method, f"{running.url}{path}", headers=headers)
                    assert refused.status_code == 401, path
                    assert refused.headers["www-authenticate"].startswith("Basic ")
            opened = await running.client.get(f"{running.url}{path}", auth=("", KEY))
            assert opened.status_code != 401, path
        assert (await running.chat(headers={"authorization": f"Bearer {KEY}"})).status_code == 401
        assert (await running.chat(headers={"authorization": "Bearer sk-client"})).status_code == 200
        assert (await running.client.get("/health/ready")).status_code == 200


async def test_with_several_workers(tmp_path: Path) -> None:
    hosts = {"own/host": "http://127.0.0.1:1"}
    async with gateway_command(tmp_path, hosts, "--workers", "2", environ={"GATEWAY_ADMIN_KEY": KEY}) as running:
        for _ in range(8):  # each on a connection of its own, so that both workers get some
            refused = await running.client.get("/metrics", headers={"connection": "close"})
            opened = await running.client.get("/metrics", headers={"connection": "close"}, auth=("any", KEY))
            assert (refused.status_code, opened.status_code) == (401, 200)


def test_the_key_is_read_once_and_kept_as_a_digest_only() -> None:
    settings = load(None, {"GATEWAY_ADMIN_KEY": f" {KEY}\n"})
    assert settings.admin == sha256(KEY.encode()).digest()
    assert KEY not in repr(settings)
    assert load(None, {"GATEWAY_ADMIN_KEY": ""}).admin is None


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"GATEWAY_ADMIN_KEY": "two words"}, "GATEWAY_ADMIN_KEY: must be printable ASCII"),
        ({"GATEWAY_ADMIN_KEY": KEY, "GATEWAY_API_KEYS": f"app:{KEY}"}, "GATEWAY_ADMIN_KEY: is a client's key, too"),
    ],
)
def test_a_key_that_cannot_be_used(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        load(None, environ)
    assert KEY not in str(raised.value)
