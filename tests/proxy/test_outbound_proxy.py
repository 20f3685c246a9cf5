"""A gateway whose hosts are behind an HTTP proxy: by the environment, by provider, and with a proxy that fails."""

import logging
import ssl
from pathlib import Path

import pytest

from gateway.telemetry.ledger import read
from tests.support.certificates import self_signed
from tests.support.connect_proxy import ConnectProxy
from tests.support.gateway import DIRECT_ONLY, Gateway, write_policy
from tests.support.host import ScriptedHost, answers, completion

GOOD = answers(200, completion("Hello"))
PASSWORD = "p@ss/word"
LOGIN = "Basic bWU6cEBzcy93b3Jk"
pytestmark = DIRECT_ONLY  # what is between the gateway and its hosts does not depend on the client's side


def in_order(folder: Path, *ids: str) -> None:
    pick = {"how": "order", "explore": "0%", "order": list(ids)}
    write_policy(folder / "policies", "test", pick=pick, attempts={"retries": 0}, timeouts={"connect": "2s"})


async def test_the_environment_names_the_proxy(gateway: Gateway) -> None:
    async with ScriptedHost(GOOD) as host, ConnectProxy({"a.example": host.port, "b.example": host.port}) as proxy:
        hosts = {"a/fp8": "http://a.example", "b/fp8": "http://b.example:81", "c/fp8": host.url}
        environ = {"HTTP_PROXY": proxy.url, "no_proxy": "c.example"}
        async with gateway(hosts, environ=environ) as running:
            for _ in range(12):
                assert (await running.chat(model="deepseek-v3.2:nitro")).status_code == 200
            used = {row.endpoint for row in read(running.folder / "ledger")}
    expected = {"a/fp8": "a.example:80", "b/fp8": "b.example:81"}
    assert set(proxy.connects) == {expected[name] for name in used - {"c/fp8"}}, "loopback is never proxied"


async def test_a_provider_has_a_proxy_and_authorities_of_its_own(gateway: Gateway, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "a.example")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with (
        ScriptedHost(GOOD, tls=tls) as host,
        ConnectProxy({"a.example": host.port}, login=LOGIN) as proxy,
    ):
        url = proxy.url.replace("//", "//me:${PROXY_PASSWORD}@")
        environ = {"PROXY_PASSWORD": "p%40ss%2Fword", "HTTPS_PROXY": "http://127.0.0.1:1"}
        providers = {"vllm": {"proxy": url, "ca_file": certificate.name}}
        async with gateway({"a/fp8": "https://a.example"}, environ=environ, providers=providers) as running:
            assert (await running.chat()).status_code == 200
    assert proxy.connects == ["a.example:443"]


async def test_a_refused_login_is_an_error_that_names_the_proxy_and_never_the_password(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with ConnectProxy({}, login="Basic other") as proxy:
        url = proxy.url.replace("//", "//me:p%40ss%2Fword@")
        async with gateway({"a/fp8": "http://a.example"}, environ={"HTTP_PROXY": url}) as running:
            answer = await running.chat()
            pages = [(await running.client.get(path)).text for path in ("/page/model.json", "/metrics", "/v1/models")]
            rows = "".join(path.read_text() for path in (running.folder / "ledger").glob("*.jsonl"))
    assert answer.status_code == 503
    assert f"the proxy {proxy.url} refused its user and password (407)" in answer.text
    assert '"proxy"' in rows
    shown = "".join([answer.text, rows, caplog.text, *pages])
    assert [secret for secret in (PASSWORD, "p%40ss", LOGIN.split()[1]) if secret in shown] == []


@pytest.mark.parametrize("fault", ["closes", "garbage", "says more", "stalls"])
async def test_another_endpoint_answers_where_the_proxy_fails(gateway: Gateway, tmp_path: Path, fault: str) -> None:
    in_order(tmp_path, "a/fp8", "b/fp8")
    async with ScriptedHost(GOOD) as host, ConnectProxy({}) as proxy:
        proxy.fault = fault  # type: ignore[assignment]
        hosts = {"a/fp8": "http://a.example", "b/fp8": host.url}
        async with gateway(hosts, environ={"HTTP_PROXY": proxy.url}, default_policy="test") as running:
            answer = await running.chat()
            assert (answer.status_code, answer.headers["x-gateway-endpoint"]) == (200, "b/fp8")
            outcomes = [row.outcome for row in read(running.folder / "ledger")]
    assert outcomes == ["refused" if fault == "stalls" else "proxy", "ok"]


async def test_a_dead_proxy_that_all_endpoints_share_drops_no_endpoint(gateway: Gateway, tmp_path: Path) -> None:
    """The breakers open, because no endpoint can be reached; endpoints are still tried, and answer when it is back.
    Nobody's success rate has suffered."""
    in_order(tmp_path, "a/fp8", "b/fp8")
    async with ScriptedHost(GOOD) as host, ConnectProxy(dict.fromkeys(("a.example", "b.example"), host.port)) as proxy:
        proxy.fault = "closes"
        hosts = {"a/fp8": "http://a.example", "b/fp8": "http://b.example"}
        async with gateway(hosts, environ={"HTTP_PROXY": proxy.url}, default_policy="test") as running:
            for _ in range(12):
                answer = await running.chat()
                assert (answer.status_code, "closed the connection" in answer.text) == (503, True)
            assert await running.metric("gateway_attempts_total", outcome="proxy") >= 24
            proxy.fault = ""
            assert (await running.chat()).status_code == 200
            page = (await running.client.get("/page/model.json")).text
            assert '"proxy"' in page or "proxy" in page
