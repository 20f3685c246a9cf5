"""Whether this process makes OpenTelemetry traces: the standard `OTEL_*` variables turn them on.

OTEL_EXPORTER_OTLP_ENDPOINT is set ──> `spans.py`, which imports the SDK
                   else ──> nothing is imported, and no request costs anything
"""

import logging
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Protocol
from urllib.parse import urlsplit

from gateway.config.proxy_environment import ProxyEnvironment
from gateway.telemetry.trace_context import HostAddress
from gateway.types import Endpoint, Request, Row

EXTRA = "llm-routing-gateway[otel]"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
DEFAULT_COLLECTOR = "http://localhost:4318"
_PORTS = {"http": 80, "https": 443}
_log = logging.getLogger("gateway")


class Tracing(Protocol):
    """The traces of one worker."""

    def headers(self, request: Request, attempt: int) -> bytes:
        """The header lines by which a host continues the trace. `attempt` counts from 1."""

    def ended(self, row: Row, request: Request) -> None:
        """An attempt has ended, and with the last one its exchange."""

    def take(self, addresses: Mapping[str, HostAddress]) -> None:
        """Takes the addresses of hosts by endpoint id."""

    def close(self) -> None:
        """Exports what is left, for at most some seconds. Blocks."""


def is_on(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector, or the OTLP exporter."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter not in ("", "otlp"):
        return False
    return exporter == "otlp" or any(environ.get(name) for name in _ENDPOINTS)


def tracing(environ: Mapping[str, str]) -> Tracing | None:
    """The traces of this process; None where they are off, or a package is missing, which is logged."""
    if not is_on(environ):
        return None
    if not _is_installed():
        _log.error("no traces: OTEL_* variables turn them on, but a package is missing; install %s", EXTRA)
        return None
    proxies = ProxyEnvironment(environ)
    proxy = proxies.proxy_of(next((url for name in _ENDPOINTS if (url := environ.get(name))), DEFAULT_COLLECTOR))
    if proxies.problems:
        _log.error("no traces: %s", "; ".join(proxies.problems))
        return None
    from gateway.telemetry.spans import Spans

    return Spans({}, proxy)


def addresses(endpoints: Iterable[Endpoint]) -> dict[str, HostAddress]:
    """The hosts' addresses by endpoint id."""
    return {one.id: _address(one.base_url) for one in endpoints if one.base_url}


def _is_installed() -> bool:
    parents = ("opentelemetry", "opentelemetry.exporter", "opentelemetry.exporter.otlp")
    return all(find_spec(name) for name in (*parents, "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"))


def _address(url: str) -> HostAddress:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]
