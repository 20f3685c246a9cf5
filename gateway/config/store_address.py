"""The store's address, parsed from its URL. Any part of the URL may hold a secret, so no message quotes one.

redis://user:password@host:port/database        one server
redis+sentinel://host:port,host:port/master     the master that Sentinels name
redis+cluster://host:port,host:port             a Cluster, found through any of its nodes
rediss://, rediss+sentinel://, ...              the same over TLS
unix://user:password@/path?db=0                 one server on this machine
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from gateway.errors import ConfigError

Kind = Literal["one", "sentinel", "cluster", "unix"]
SCHEMES: Mapping[str, tuple[Kind, bool]] = {  # whether over TLS
    "redis": ("one", False),
    "rediss": ("one", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "unix": ("unix", False),
}
PORTS: Mapping[Kind, int] = {"one": 6379, "sentinel": 26379, "cluster": 6379}  # the default ones
_URL = re.compile(r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(\?(?P<query>[^#]*))?")
_HOST = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.IGNORECASE)
_MASTER = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LOGIN = {"username", "password"}
_TLS = {"ssl_ca_certs": "certificates", "ssl_certfile": "certificate", "ssl_keyfile": "key"}
_SENTINEL = {"sentinel_username": "sentinel_user", "sentinel_password": "sentinel_password"}
_ENCODE = "percent-encode the special characters of a user or password"


class Host(NamedTuple):
    """A name or an IP address, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The store's address and login. `str` is safe for logs: it leaves out users and passwords."""

    kind: Kind
    hosts: tuple[Host, ...] = ()  # the server; or Sentinels; or nodes of the Cluster
    tls: bool = False
    path: str = ""  # of the unix socket, absolute
    master: str = ""  # its name among the Sentinels
    database: int = 0
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sentinel_user: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    certificates: str | None = None  # file with the trusted authorities; None for the system's
    certificate: str | None = None  # file with the client's own, and perhaps its key
    key: str | None = None  # file with the key of `certificate`

    @classmethod
    def parse(cls, url: str) -> "StoreAddress":
        """Parses a URL as in this module's picture. Users, passwords and paths are percent-encoded. Options: `db`,
        `username`, `password`; with TLS `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`; for Sentinels
        `sentinel_username`, `sentinel_password`. Raises ConfigError.
        """
        try:
            return cls(**_fields(url))
        except _Invalid as error:
            reason = str(error)
        except ValueError:  # its text may quote the URL
            reason = f"it is not percent-encoded UTF-8: {_ENCODE}"
        raise ConfigError(f"the store's URL is invalid: {reason}")

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix://{self.path}"
        kind = "" if self.kind == "one" else f"+{self.kind}"
        end = {"one": f"/{self.database}", "sentinel": f"/{self.master}/{self.database}"}.get(self.kind, "")
        return f"redis{'s' * self.tls}{kind}://{','.join(map(str, self.hosts))}{end}"


class _Invalid(ValueError):
    """Why the URL is refused, without any part of it."""


def _fields(url: str) -> dict[str, Any]:
    """The fields of an address. ValueError for any other URL."""
    parts = _URL.fullmatch(url)
    kind, tls = SCHEMES.get(parts["scheme"].lower() if parts else "", (None, False))
    if parts is None or kind is None:
        raise _Invalid(
            f"it must begin with one of {', '.join(f'{one}://' for one in SCHEMES)}, and have no #: {_ENCODE}"
        )
    login, _, place = parts["authority"].rpartition("@")
    user, _, password = login.partition(":")
    options = _options(parts["query"], kind, tls)
    found = {
        **(_socket if kind == "unix" else _servers)(kind, place, parts["path"]),
        "kind": kind,
        "tls": tls,
        "user": unquote(user, errors="strict") or options.pop("username", ""),
        "password": unquote(password, errors="strict") or options.pop("password", ""),
    }
    database = options.pop("db", "") or found.pop("database", "")
    if kind == "cluster" and database not in ("", "0"):
        raise _Invalid("a Cluster has database 0 only")
    renamed = {(_TLS | _SENTINEL)[name]: value for name, value in options.items() if name not in _LOGIN}
    return found | renamed | {"database": _database(database)}


def _options(query: str | None, kind: Kind, tls: bool) -> dict[str, str]:
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")) if query else {}
    except ValueError:
        raise _Invalid(f"what follows ? must be option=value, with & in between: {_ENCODE}") from None
    known = {"db", *_LOGIN, *(_TLS if tls else ()), *(_SENTINEL if kind == "sentinel" else ())}
    if options.keys() & (_TLS.keys() | _SENTINEL.keys()) - known:
        raise _Invalid("ssl_ options need rediss://, sentinel_ options redis+sentinel:// or rediss+sentinel://")
    if not options.keys() <= known:
        raise _Invalid(f"its options may be {', '.join(sorted(known))}")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise _Invalid("ssl_keyfile needs ssl_certfile")
    return options


def _servers(kind: Kind, place: str, path: str) -> dict[str, Any]:
    hosts = tuple(_hosts(place, PORTS[kind]))
    if kind == "one" and len(hosts) > 1:
        raise _Invalid("several addresses need redis+sentinel:// or redis+cluster://")
    parts = path.removeprefix("/").split("/")
    master = unquote(parts.pop(0), errors="strict") if kind == "sentinel" else ""
    if kind == "sentinel" and not _MASTER.fullmatch(master):
        raise _Invalid("Sentinels need the master's name, as in redis+sentinel://host1,host2/mymaster")
    if len(parts) > 1:
        raise _Invalid(f"its path has too many parts: {_ENCODE}")
    return {"hosts": hosts, "master": master, "database": parts[0] if parts else ""}


def _hosts(place: str, port: int) -> Iterator[Host]:
    for one in place.split(","):
        address = re.fullmatch(r"(\[(?P<v6>[^\]]*)\]|(?P<name>[^:]*))(:(?P<port>[0-9]*))?", one)
        if address is None:
            raise _Invalid(f"an address must be host:port, or [IPv6]:port: {_ENCODE}")
        name, number = address["name"] or ("" if "," in place else "localhost"), int(address["port"] or port)
        if address["v6"] is not None:
            name = _ipv6(address["v6"])
        elif not _HOST.fullmatch(name):
            raise _Invalid(f"a host's name has characters that none has: {_ENCODE}")
        if not 0 < number < 65_536:
            raise _Invalid("a port must be from 1 to 65535")
        yield Host(name.lower(), number)


def _ipv6(text: str) -> str:
    try:
        IPv6Address(text)
    except ValueError:
        raise _Invalid("the address in [ ] must be an IPv6 address") from None
    return text


def _socket(kind: Kind, place: str, path: str) -> dict[str, Any]:
    path = unquote(path, errors="strict")
    if place or not path.startswith("/") or "\0" in path:
        raise _Invalid("a unix socket needs its absolute path, as in unix:///run/valkey.sock")
    return {"path": path}


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,9}", text):
        raise _Invalid(f"the database must be a number: {_ENCODE}")
    return int(text or 0)
