"""The proxies of the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, by the rules of curl and httpx.

    https://host ── https_proxy, HTTPS_PROXY ──┐
    http://host ─── http_proxy, HTTP_PROXY ────┼─ none set ─> all_proxy, ALL_PROXY ──> the proxy, or None
                    no_proxy, NO_PROXY, loopback ───────────────────────────────────> None

A lower-case variable that is set takes precedence, also if it is empty. Under CGI, which sets REQUEST_METHOD,
HTTP_PROXY is a client's `Proxy` header, and is ignored.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.config.egress_fields import PORTS, proxy_address
from gateway.errors import ConfigError
from gateway.types.egress import ProxyAddress

_MAPPED = 96  # bits before the IPv4 address in an IPv6 address that holds one
_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[0-9]+)")


class Bypass(NamedTuple):
    """One entry of NO_PROXY: a domain with its subdomains, an address, or a network; perhaps of one port only."""

    name: str  # lower case; `*` for every host
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Bypass":
        found = _WITH_PORT.fullmatch(text)
        host, port = (found["host"], int(found["port"])) if found else (text, None)
        name = host.strip("[]").lower().rstrip(".")
        return cls(name if name == "*" else name.removeprefix("*").removeprefix("."), port)

    def covers(self, host: str, port: int) -> bool:
        """Whether requests to this host, in lower case, go directly."""
        if self.port not in (None, port) or not self.name:
            return False
        address = _ip(host)
        if self.name == "*":
            return True
        if address is not None:
            return self._covers_address(address)
        return host == self.name or host.endswith(f".{self.name}")

    def _covers_address(self, address: IPv4Address | IPv6Address) -> bool:
        try:
            network = ip_network(self.name, strict=False)
        except ValueError:
            return False
        return address in (_unmapped(network) if isinstance(network, IPv6Network) else network)


class ProxyEnvironment:
    """`problems`: a line for each variable that was needed and is invalid."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._urls = {name: _value(environ, f"{name}_proxy") for name in ("http", "https", "all")}
        if "REQUEST_METHOD" in environ and "http_proxy" not in environ:
            self._urls["http"] = ("http_proxy", "")
        entries = re.split(r"[\s,]+", _value(environ, "no_proxy")[1])
        self._bypasses = [Bypass.parse(entry) for entry in entries if entry]
        self.problems: dict[str, None] = {}  # an ordered set

    def __repr__(self) -> str:
        return f"<ProxyEnvironment of {', '.join(name for name, (_, url) in self._urls.items() if url) or 'none'}>"

    def proxy_of(self, base_url: str) -> ProxyAddress | None:
        """The proxy for requests to this http(s) URL; None if there is none, or its variable is invalid."""
        parts = urlsplit(base_url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or PORTS[parts.scheme]
        variable, url = self._urls[parts.scheme] if self._urls[parts.scheme][1] else self._urls["all"]
        if not url or _is_this_machine(host) or any(one.covers(host, port) for one in self._bypasses):
            return None
        try:
            return proxy_address(url)
        except ConfigError as error:
            self.problems[f"{variable}: {error}; NO_PROXY lists hosts that need none"] = None
            return None


def _unmapped(network: IPv6Network) -> IPv6Network | IPv4Network:
    """The IPv4 network that is written as `::ffff:10.0.0.0/104`; any other one as it is."""
    first = network.network_address.ipv4_mapped
    if first is None or network.prefixlen < _MAPPED:
        return network
    return IPv4Network((first, network.prefixlen - _MAPPED))


def _value(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable's name, as it is set, and its value without white space around it."""
    found = name if name in environ else name.upper()
    return found, environ.get(found, "").strip()


def _is_this_machine(host: str) -> bool:
    address = _ip(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
