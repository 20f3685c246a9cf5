"""HTTPS_PROXY and its relatives, by the rules that curl and httpx share."""

from typing import Any

import httpx
import pytest
from httpx._utils import get_environment_proxies

from gateway.config.proxy_environment import ProxyEnvironment

HOST = "https://api.host.example/v1"


def proxy(url: str = HOST, **environ: str) -> str | None:
    found = ProxyEnvironment(environ)
    address = found.proxy_of(url)
    assert not found.problems
    return str(address) if address else None


@pytest.mark.parametrize(
    ("environ", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1", None),
        ({"https_proxy": "http://p:1"}, "http://p:1", None),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, "http://low:1", None),
        ({"https_proxy": "", "HTTPS_PROXY": "http://up:1"}, None, None),
        ({"HTTP_PROXY": "http://p:1"}, None, "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1", "http://p:1"),
        ({"all_proxy": "p:1", "HTTPS_PROXY": "http://s:2"}, "http://s:2", "http://p:1"),
        ({"HTTPS_PROXY": " https://p "}, "https://p:443", None),
        ({"HTTPS_PROXY": "p"}, "http://p:80", None),
        ({"HTTPS_PROXY": "http://[2001:db8::1]:3128/"}, "http://[2001:db8::1]:3128", None),
        ({"HTTP_PROXY": "http://client:1", "REQUEST_METHOD": "GET"}, None, None),
        ({"http_proxy": "http://p:1", "HTTP_PROXY": "http://client:1", "REQUEST_METHOD": "GET"}, None, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://p:1", None),
    ],
)
def test_which_variable_holds(environ: dict[str, str], https: str | None, http: str | None) -> None:
    assert (proxy(**environ), proxy("http://api.host.example", **environ)) == (https, http)


@pytest.mark.parametrize(
    ("no_proxy", "url", "bypassed"),
    [
        ("host.example", HOST, True),
        (".host.example", HOST, True),
        ("*.host.example", HOST, True),
        ("API.Host.Example", HOST, True),
        ("api.host.example.", HOST, True),
        ("ost.example", HOST, False),
        ("api.host.example.org", HOST, False),
        ("other, host.example", HOST, True),
        ("other host.example", HOST, True),
        ("*", HOST, True),
        ("other,*", HOST, True),
        ("", HOST, False),
        (",", HOST, False),
        (".", HOST, False),
        ("host.example:443", HOST, True),
        ("host.example:8443", HOST, False),
        ("host.example:8443", "https://api.host.example:8443/v1", True),
        ("10.0.0.5", "http://10.0.0.5:8000/v1", True),
        ("10.0.0.5:8000", "http://10.0.0.5:8000/v1", True),
        ("10.0.0.5:80", "http://10.0.0.5:8000/v1", False),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.1/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "http://10.example", False),
        ("0.0.5", "http://10.0.0.5", False),
        ("fd00::/8", "http://[fd12::1]:8000", True),
        ("[fd12::1]:8000", "http://[fd12::1]:8000", True),
        ("[fd12::1]", "http://[fd12::1]:8000", True),
        ("fd12:0::1", "http://[fd12::1]", True),
        ("10.0.0.0/99", "http://10.0.0.5", False),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]", True),
        ("::ffff:10.0.0.0/104", "http://10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "http://[::ffff:10.1.2.3]", True),
        ("::ffff:10.0.0.0/104", "http://11.1.2.3", False),
        ("::ffff:10.0.0.5", "http://10.0.0.5:8000/v1", True),
        ("::/0", "http://10.1.2.3", False),
        ("::/0", "http://[fd12::1]", True),
    ],
)
def test_no_proxy(no_proxy: str, url: str, bypassed: bool) -> None:
    assert (proxy(url, ALL_PROXY="http://p:1", NO_PROXY=no_proxy) is None) == bypassed


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://LOCALHOST.:8000",
        "http://a.localhost",
        "http://127.0.0.1",
        "http://127.8.9.1:1",
        "http://[::1]:1",
        "http://[::ffff:127.0.0.1]",
        "http://0.0.0.0:8000",
    ],
)
def test_this_machine_is_never_reached_through_a_proxy(url: str) -> None:
    assert proxy(url, ALL_PROXY="http://p:1") is None


@pytest.mark.parametrize("no_proxy", ["host.example", "api.host.example", "example.org", "*", "10.0.0.5"])
def test_httpx_agrees(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with httpx.Client() as client:
        for url in (HOST, "http://10.0.0.5", "https://example.org"):
            direct = client._transport_for_url(httpx.URL(url)) is client._transport
            if "*" in no_proxy:
                direct = not get_environment_proxies()
            assert (proxy(url, ALL_PROXY="http://p:1", NO_PROXY=no_proxy) is None) == direct, url


@pytest.mark.parametrize(
    "url", ["socks5://p:1080", "ftp://p", "http://", "http://p:0", "http://p:99999", "http://p/path", "http://a b"]
)
def test_a_url_that_is_no_http_proxy_is_a_problem_where_it_is_needed(url: str) -> None:
    found = ProxyEnvironment({"ALL_PROXY": url.replace("//", "//me:hunter2@")})
    assert found.proxy_of("http://127.0.0.1") is None
    assert not found.problems, "not needed"
    assert found.proxy_of(HOST) is None
    (problem,) = found.problems
    assert problem.startswith("ALL_PROXY: is not an HTTP proxy; write http://user:password@host:port")
    assert "hunter2" not in problem + repr(found)


def test_the_login_is_decoded_and_never_shown() -> None:
    address: Any = ProxyEnvironment({"https_proxy": "http://me%40corp:p%3Aw%2F@p:1"}).proxy_of(HOST)
    assert (address.user, address.password) == ("me@corp", "p:w/")
    assert address.with_login() == "http://me%40corp:p%3Aw%2F@p:1"
    assert "p:w" not in f"{address} {address!r}"
