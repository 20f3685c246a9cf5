"""The store's address, parsed from its URL. Any part of the URL may hold a secret, so no message quotes one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from gateway.errors import ConfigError

_HOST = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_OPTIONS = {"db", "username", "password", "ssl_ca_certs"}


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The store's address and login. `str` is safe for logs: it leaves out user and password."""

    scheme: Literal["redis", "rediss", "unix"]
    host: str = ""  # a name or an IP address; empty for unix
    port: int = 6379
    path: str = ""  # of the socket, absolute; empty for the others
    database: int = 0
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    certificates: str | None = None  # file with the trusted authorities; None for the system's

    @classmethod
    def parse(cls, url: str) -> "StoreAddress":
        """Parses `redis://user:password@host:port/database`, `rediss://` for TLS, or `unix://user:password@/path?db=0`.

        Parts are percent-encoded. Options: `db`, `username`, `password`, and `ssl_ca_certs` for rediss. Raises
        ConfigError.
        """
        try:
            return cls(**_fields(urlsplit(url)))
        except ValueError:
            raise ConfigError(
                "the store's URL is invalid: write one server, as redis://user:password@host:port/0, rediss:// for "
                f"TLS, or unix:///path?db=0, with a percent-encoded password; options are {', '.join(sorted(_OPTIONS))}"
            ) from None

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}"


def _fields(parts: SplitResult) -> Mapping[str, Any]:
    """The fields of an address. ValueError for any other URL."""
    if parts.scheme not in ("redis", "rediss", "unix") or parts.fragment:
        raise ValueError
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    if not options.keys() <= _OPTIONS or ("ssl_ca_certs" in options and parts.scheme != "rediss"):
        raise ValueError
    place = _socket(parts) if parts.scheme == "unix" else _server(parts)
    return place | {
        "scheme": parts.scheme,
        "database": _number(options.get("db") or place.get("database") or "0"),
        "user": unquote(parts.username or "", errors="strict") or options.get("username", ""),
        "password": unquote(parts.password or "", errors="strict") or options.get("password", ""),
        "certificates": options.get("ssl_ca_certs"),
    }


def _server(parts: SplitResult) -> dict[str, Any]:
    host = parts.hostname or "localhost"
    if ":" in host:
        IPv6Address(host)
    elif not _HOST.fullmatch(host):
        raise ValueError
    if parts.port == 0:
        raise ValueError
    return {"host": host, "port": parts.port or 6379, "database": parts.path.removeprefix("/")}


def _socket(parts: SplitResult) -> dict[str, Any]:
    path = unquote(parts.path, errors="strict")
    if parts.netloc.rpartition("@")[2] or not path.startswith("/") or "\0" in path:
        raise ValueError
    return {"path": path}


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError
    return int(text)
