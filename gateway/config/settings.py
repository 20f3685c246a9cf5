"""gateway.yaml, the environment and the shipped catalogue, decoded into frozen dataclasses.

    catalog/deepseek-v3.2.yaml --+
    gateway.yaml `models:` ------+--merge--> models
    gateway.yaml, the rest ------+--decode-> Settings <-- GATEWAY_* and the hosts' API keys from the environment

The environment takes precedence over the file; `keys` from both are accepted.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from gateway.config.catalogue import read_endpoint, read_models, usable, wanted_variables, with_catalogue
from gateway.config.drain_settings import DrainSettings
from gateway.config.egress_fields import read_pem, read_proxy
from gateway.config.key_limits import NO_BOUNDS, Bounds, LimitSettings, read_bounds
from gateway.config.keys import Key, Secrets, admin_from_environ, keys_from_environ, read_key
from gateway.config.probes import ProbeSettings, read_probes
from gateway.config.proxy_environment import ProxyEnvironment
from gateway.config.references import replaced, unreplaced
from gateway.config.rules import Bound, Rule, When, read_bound, read_rule, read_when
from gateway.config.store_address import StoreAddress
from gateway.document import (
    INVALID,
    DocumentReader,
    Hook,
    Items,
    Node,
    Place,
    Table,
    below,
    decode,
    nearest,
    place_at,
    read,
    text_at,
)
from gateway.errors import ConfigError
from gateway.types import PROBE, Endpoint, Model, Recording
from gateway.types.egress import PemFile, ProxyAddress
from gateway.types.units import RETRY_SHARE, Bytes, Share

LogFormat = Literal["text", "json"]
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PriceSync = Literal["off", "litellm", "hosts", "all"]
_ORIGIN = re.compile(r"\*|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s*]+")
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[?[0-9A-Fa-f:]+(%\w+)?\]?")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one configuration. A reload replaces them; `config_changes.FIXED` need a restart. `max_body` is
    in bytes."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    redis_url: str | None = field(default=None, repr=False)  # may contain a password
    keys: tuple[Key, ...] = ()
    keys_required: bool = False  # even while there are no keys
    limits: LimitSettings = field(default_factory=LimitSettings)
    admin: bytes | None = field(default=None, repr=False)  # digest of the key of the model page and the metrics
    policies: Path | None = None
    default_policy: str = "balanced"
    rules: tuple[Rule, ...] = ()
    state: Path | None = None
    log_format: LogFormat = "text"
    max_body: int = 16 << 20
    max_in_flight: int | None = None
    retry_budget: Share = RETRY_SHARE
    allowed_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    public_lists: bool = False
    keep_reasoning: bool = True
    keep_responses: bool = True
    claude: Mapping[str, str] = field(default_factory=dict)
    probes: ProbeSettings = field(default_factory=ProbeSettings)
    drain: DrainSettings = field(default_factory=DrainSettings)
    prices_file: Path | None = None  # None: in the state folder
    price_sync: PriceSync = "off"
    own_prices: frozenset[str] = frozenset()  # endpoints whose price is in gateway.yaml
    models: tuple[Model, ...] = ()
    secrets: Secrets = field(default_factory=lambda: Secrets({}))
    record: Recording | None = None
    files: tuple[Path, ...] = ()  # gateway.yaml and the files that it names

    @property
    def salt(self) -> str:
        """A secret that all replicas share: a hash of the hosts' keys, else of other secrets. It changes only with
        these; prompt caches belong to the hosts' keys anyway."""
        known = sorted(self.secrets.values()) or [key.digest.hex() for key in self.keys]
        return sha256("\0".join([*known, self.redis_url or "", (self.admin or b"").hex()]).encode()).hexdigest()

    @property
    def in_use(self) -> list[Endpoint]:
        """The endpoints of all models that can be used."""
        return [endpoint for model in self.models for endpoint in usable(model, self.secrets)]

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return self.host in LOOPBACK


@dataclass(frozen=True, slots=True)
class RedisEntry:
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """How all endpoints of one provider are reached, unless an endpoint has fields of its own."""

    proxy: ProxyAddress | None = None
    ca_file: PemFile | None = None
    client_cert: PemFile | None = None


@dataclass(frozen=True, slots=True)
class PricesEntry:
    sync: PriceSync = "off"
    file: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayFile:
    """gateway.yaml, field by field."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    redis: RedisEntry = field(default_factory=RedisEntry)
    keys: tuple[Key, ...] = ()
    limits: LimitSettings = field(default_factory=LimitSettings)
    policies: str | None = None
    default_policy: str = "balanced"
    rules: tuple[Rule, ...] = ()
    state: str | None = None
    log_format: LogFormat = "text"
    max_body: Bytes = 16 << 20
    max_in_flight: int | None = None  # per worker; default: by its memory
    retry_budget: Share = RETRY_SHARE  # attempts beyond the first, per request
    allowed_hosts: tuple[str, ...] = ()  # further host names under which clients may call the gateway
    cors: tuple[str, ...] = ()  # origins of web pages that may call the gateway
    public_lists: bool = False  # whether OpenRouter's lists need no key
    keep_reasoning: bool = True  # so that reasoning can be restored where a client drops it
    keep_responses: bool = True  # so that clients of `/v1/responses` can refer to earlier ones
    claude: dict[str, str] = field(default_factory=dict)  # substring of a Claude model's name -> policy
    probes: ProbeSettings = field(default_factory=ProbeSettings)
    drain: DrainSettings = field(default_factory=DrainSettings)
    prices: PricesEntry = field(default_factory=PricesEntry)
    providers: dict[str, ProviderEntry] = field(default_factory=dict)  # by the endpoints' `provider`
    catalogue: bool = True  # whether the shipped models and endpoints are included
    models: tuple[Model, ...] = ()


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of gateway.yaml at `path` (None: defaults), the environment and the shipped catalogue.

    Raises ConfigError with every problem found. Relative paths in the file are relative to its folder.
    """
    own = read(path) if path else Table(Place("defaults", 1, 1), {})
    document = with_catalogue(own)
    problems = list(unreplaced(own))
    proxies = ProxyEnvironment(environ)
    file = GatewayFile()
    try:
        file = decode(document, GatewayFile, _hooks(environ, proxies))
    except ConfigError as error:
        problems.extend(error.problems)
    problems.extend(proxies.problems)
    keys, admin = _credentials(file.keys, environ, problems)
    redis_url = _redis_of(environ, problems)
    if problems:
        raise ConfigError(*problems)
    folder = path.parent if path else Path()
    state = environ.get("GATEWAY_STATE")
    return Settings(
        host=file.host,
        port=file.port,
        workers=file.workers,
        redis_url=redis_url or file.redis.url,
        keys=keys,
        limits=file.limits,
        admin=admin,
        policies=_path(file.policies, folder),
        default_policy=file.default_policy,
        rules=file.rules,
        state=Path(state) if state else _path(file.state, folder),
        log_format=file.log_format,
        max_body=file.max_body,
        max_in_flight=file.max_in_flight,
        retry_budget=file.retry_budget,
        allowed_hosts=file.allowed_hosts,
        cors=file.cors,
        public_lists=file.public_lists,
        keep_reasoning=file.keep_reasoning,
        keep_responses=file.keep_responses,
        claude=file.claude,
        probes=file.probes,
        drain=file.drain,
        prices_file=_path(file.prices.file, folder),
        price_sync=file.prices.sync,
        own_prices=_own_prices(own),
        models=file.models,
        secrets=_secrets(file.models, environ),
        files=(path, *_about_files(own, folder)) if path else (),
    )


def _credentials(
    own: tuple[Key, ...], environ: Mapping[str, str], problems: list[str]
) -> tuple[tuple[Key, ...], bytes | None]:
    """The client keys of gateway.yaml and the environment, and the digest of the admin key."""
    keys = (*own, *keys_from_environ(environ.get("GATEWAY_API_KEYS", ""), problems))
    admin = admin_from_environ(environ.get("GATEWAY_ADMIN_KEY", ""), problems)
    problems.extend(_repeated(keys, admin))
    problems.extend(_unclear(keys))
    if any(key.tenant == PROBE for key in keys):
        problems.append(f"keys: the tenant `{PROBE}` is the gateway's own; choose another name")
    return keys, admin


def _repeated(keys: tuple[Key, ...], admin: bytes | None) -> Iterator[str]:
    """A line for a secret that is used twice."""
    digests = {key.digest for key in keys}
    if len(digests) < len(keys):
        yield "keys: two keys are equal; give every tenant its own secret"
    if admin in digests:
        yield "GATEWAY_ADMIN_KEY: is a client's key, too; give it a secret of its own"


def _unclear(keys: tuple[Key, ...]) -> Iterator[str]:
    """A line for a tenant whose keys differ in what applies to the tenant as a whole."""
    found: dict[str, Key] = {}
    for key in keys:
        if key.limits == NO_BOUNDS and key.group is None:
            continue  # it shares those of the tenant's other keys
        first = found.setdefault(key.tenant, key)
        if (key.limits, key.group) != (first.limits, first.group):
            yield f"keys: tenant `{key.tenant}` has keys with different limits or groups; write them at one of the keys"


def _about_files(document: Node, folder: Path) -> Iterator[Path]:
    """The Markdown files about models that gateway.yaml names."""
    models = below(document, "models")
    for entry in models.entries.values() if isinstance(models, Table) else ():
        if name := text_at(entry.node, "about"):
            yield folder / name


def _own_prices(document: Node) -> frozenset[str]:
    """The endpoints whose price is in gateway.yaml."""
    models = below(document, "models")
    found = [below(entry.node, "endpoints") for entry in models.entries.values()] if isinstance(models, Table) else []
    listed = [node for one in found if isinstance(one, Items) for node in one.nodes]
    return frozenset(text_at(node, "id") or "" for node in listed if below(node, "price"))


def _path(text: str | None, folder: Path) -> Path | None:
    return folder / Path(text).expanduser() if text else None


def _secrets(models: tuple[Model, ...], environ: Mapping[str, str]) -> Secrets:
    found = {name: environ.get(name, "").strip() for name in wanted_variables(models)}
    return Secrets({name: value for name, value in found.items() if value})


def _hooks(environ: Mapping[str, str], proxies: ProxyEnvironment) -> dict[Any, Hook]:
    return {
        GatewayFile: _gateway_file,
        Bounds: read_bounds,
        Key: lambda reader, node: read_key(reader, node, environ),
        ProbeSettings: read_probes,
        RedisEntry: lambda reader, node: _redis(reader, node, environ),
        Rule: read_rule,
        When: read_when,
        Bound: read_bound,
        Endpoint: lambda reader, node: read_endpoint(reader, node, environ, proxies),
        PemFile: read_pem,
        ProxyAddress: lambda reader, node: read_proxy(reader, node, environ),
        tuple[Model, ...]: read_models,
    }


def _gateway_file(reader: DocumentReader, node: Node) -> Any:
    file = reader.record(node, GatewayFile)
    if file is INVALID:
        return INVALID
    known = {endpoint.provider for model in file.models for endpoint in model.endpoints}
    unknown = next((name for name in file.providers if name not in known), None)
    if unknown and not reader.problems:  # endpoints that cannot be read are missing
        where = place_at(below(node, "providers") or node, unknown)
        return reader.problem(where, f"providers: no endpoint has the provider `{unknown}`; {nearest(unknown, known)}")
    if file.port > 65_535:
        return reader.problem(
            place_at(node, "port"), f"port: {file.port} is too large; write 0 (any free port) to 65535"
        )
    if file.workers < 1 or file.max_body < 1:
        return reader.problem(node.place, "workers and max_body must be at least 1")
    if file.max_in_flight is not None and file.max_in_flight < 1:
        return reader.problem(place_at(node, "max_in_flight"), "max_in_flight must be at least 1, or absent")
    wrong = next((name for name in file.allowed_hosts if not _HOST.fullmatch(name)), None)
    if wrong is not None:
        what = f"allowed_hosts: `{wrong}` is not a host name; write a name or an address without a port, *.name, or *"
        return reader.problem(place_at(node, "allowed_hosts"), what)
    if wrong := next((origin for origin in file.cors if not _ORIGIN.fullmatch(origin)), None):
        what = f"cors: `{wrong}` is not an origin; write only scheme, host and port, as in https://chat.example, or *"
        return reader.problem(place_at(node, "cors"), what)
    return file


def _redis(reader: DocumentReader, node: Node, environ: Mapping[str, str]) -> Any:
    entry = reader.record(node, RedisEntry)
    if entry is INVALID or entry.url is None:
        return entry
    try:
        url = replaced(entry.url, environ)
    except ConfigError as error:
        return reader.problem(place_at(node, "url"), f"redis.url: {error}")
    if problem := _store_problem(url):
        return reader.problem(place_at(node, "url"), f"redis.url: {problem}")
    return RedisEntry(url)


def _redis_of(environ: Mapping[str, str], problems: list[str]) -> str:
    """The URL of `GATEWAY_REDIS_URL`; empty if it is not set, or not valid."""
    try:
        url = replaced(environ.get("GATEWAY_REDIS_URL", ""), environ)
        problem = _store_problem(url) if url else None
    except ConfigError as error:
        url, problem = "", str(error)
    if problem:
        problems.append(f"GATEWAY_REDIS_URL: {problem}")
    return url


def _store_problem(url: str) -> str | None:
    try:
        StoreAddress.parse(url)
    except ConfigError as error:
        return str(error)
    return None
