"""Validates the `Host` and the `Origin` of a request, from its headers alone.

    always          exactly one `Host` (HTTP/1.0: at most one), a name or an address             else 400
    without keys    `Host` is a loopback name, the configured host or one of `allowed_hosts`     else 403
                    a browser's request is from the gateway's own page or an origin in `cors`    else 403
    with keys       as above for `Host`, if `allowed_hosts` is set                               else 403

A web page can send requests to this machine, and DNS rebinding can point the page's own name here, so that the page can
read the response. Browsers send the name in `Host` and the page in `Origin` and `Sec-Fetch-Site`. IP addresses cannot
be rebound: a gateway that listens on all addresses accepts any address as `Host`.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from gateway.errors import BadRequest, ClientError, Forbidden

Headers = Sequence[tuple[bytes, bytes]]

ANY = "*"
NO_HTTP = "invalid_http"  # the code of errors about HTTP itself
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # a host that listens on all addresses
MOST_KNOWN = 64  # values of `Host` that are cached as valid
_NAME = re.compile(r"(?P<name>\[[\w:.%~-]+\]|[\w.~%!$&'()*+,;=-]+)(?::(?P<port>\d{0,5}))?", re.ASCII)
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)")
_PORTS = {"http": 80, "https": 443}
_OWN = frozenset({b"same-origin", b"none"})  # none: a typed URL or a bookmark
_BROWSERS = (b"origin", b"sec-fetch-site")


class Authority:
    """The rules of one gateway."""

    def __init__(self, host: str, allowed: Sequence[str], origins: Sequence[str], has_keys: bool) -> None:
        """`host` is the address it listens on, `allowed` are further names (`*.name`: all subdomains, `*`: any name),
        `origins` those of web pages that may call it."""
        self._has_keys = has_keys
        self._host = host.lower()
        self._allowed = tuple(_bare(name.lower()) for name in allowed)
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._known: set[bytes] = set()  # values of `Host` that are valid

    def __repr__(self) -> str:
        return f"<Authority {self._host}, {len(self._allowed)} more names, {'with' if self._has_keys else 'no'} keys>"

    def refusal(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        by_name: Mapping[bytes, bytes],
        *,
        needs_host: bool = True,
    ) -> ClientError | None:
        """The error if this request is rejected, else None. `by_name` are the same headers as a mapping, with the last
        value of a repeated one. `needs_host`: the request is HTTP/1.1, which requires `Host`."""
        if (
            by_name.get(b"host") in self._known
            and len(by_name) == len(headers)
            and target.startswith(b"/")
            and b"origin" not in by_name
            and b"sec-fetch-site" not in by_name
        ):
            return None
        hosts = [value for name, value in headers if name == b"host"]
        return (
            malformed(hosts, needs_host)
            or self._wrong_name(target, hosts)
            or self._foreign_page(method, headers, by_name)
        )

    def _wrong_name(self, target: bytes, hosts: Sequence[bytes]) -> ClientError | None:
        """Every given name must be allowed. No name at all is fine, because browsers always send one."""
        found = _URL.match(target.decode("latin-1").lower())
        for name in (*hosts, *([found["authority"].encode("latin-1")] if found else ())):
            if name not in self._known and not self._may_be_called(name):
                shown = name[:100].decode("latin-1")
                return Forbidden(
                    f"this gateway may not be called by the host name `{shown}`; add it to `allowed_hosts`",
                    code="host_not_allowed",
                )
        if len(self._known) < MOST_KNOWN:
            self._known.update(hosts)
        return None

    def _may_be_called(self, value: bytes) -> bool:
        if self._has_keys and not self._allowed:
            return True
        found = _parsed(value)
        if found is None:
            return False
        name = _bare(found["name"])
        if any(_covers(allowed, name) for allowed in self._allowed):
            return True
        address = _address(name)
        if address is not None:
            return address.is_loopback or self._host in EVERYWHERE or name == self._host
        return name == self._host or name == "localhost" or name.endswith(".localhost")

    def _foreign_page(self, method: bytes, headers: Headers, by_name: Mapping[bytes, bytes]) -> ClientError | None:
        if self._has_keys or not any(name in by_name for name in _BROWSERS):
            return None
        origins = [value for name, value in headers if name == b"origin"]
        listed = bool(origins) and all(map(self._is_listed, origins))
        sites = [value.strip().lower() for name, value in headers if name == b"sec-fetch-site"]
        own = all(_same_origin(origin, by_name.get(b"host", b"")) for origin in origins)
        if listed or (own and (all(site in _OWN for site in sites) or _is_visit(method, by_name))):
            return None
        page = origins[0][:100].decode("latin-1") if origins else "another site"
        return Forbidden(
            f"web pages of `{page}` may not call this gateway, which has no keys; add their origin to `cors`",
            code="origin_not_allowed",
        )

    def _is_listed(self, origin: bytes) -> bool:
        return ANY.encode() in self._origins or origin.strip().lower() in self._origins


def malformed(hosts: Sequence[bytes], needs_host: bool) -> BadRequest | None:
    """The error that RFC 9112 (3.2) requires: a proxy in front might read a different name than this server."""
    if len(hosts) > 1:
        return BadRequest("there is more than one `Host` header; send one", code=NO_HTTP)
    if not hosts:
        return BadRequest("the `Host` header is missing; HTTP/1.1 requires it", code=NO_HTTP) if needs_host else None
    if hosts[0].strip() and _parsed(hosts[0]) is None:
        return BadRequest("`Host` must be a name or an address, with an optional port", code=NO_HTTP)
    return None


def _parsed(value: bytes) -> re.Match[str] | None:
    return _NAME.fullmatch(value.strip().decode("latin-1").lower())


def _bare(name: str) -> str:
    """Without the brackets of an IPv6 address, and without the trailing dot of a fully qualified name."""
    return name.strip("[]") if name.startswith("[") else name.removesuffix(".")


def _covers(allowed: str, name: str) -> bool:
    return allowed in (ANY, name) or (allowed.startswith("*.") and name.endswith(allowed[1:]))


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _same_origin(origin: bytes, host: bytes) -> bool:
    """Whether the origin's name and port are those in `Host`. The schemes may differ: a proxy in front may terminate
    TLS."""
    found = _URL.fullmatch(origin.decode("latin-1").strip().lower())
    ours = _parsed(host)
    theirs = found and _NAME.fullmatch(found["authority"])
    if not (found and ours and theirs):
        return False
    default = _PORTS[found["scheme"]]
    ports = [int(one["port"] or default) for one in (ours, theirs)]
    return _bare(ours["name"]) == _bare(theirs["name"]) and ports[0] == ports[1]


def _is_visit(method: bytes, by_name: Mapping[bytes, bytes]) -> bool:
    """Whether the user followed a link: the linking page cannot read the response."""
    return (
        method in (b"GET", b"HEAD")
        and b"origin" not in by_name
        and by_name.get(b"sec-fetch-mode") == b"navigate"
        and by_name.get(b"sec-fetch-dest") == b"document"
    )
