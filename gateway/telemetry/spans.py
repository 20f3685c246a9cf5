"""OpenTelemetry spans by OTLP over HTTP: one for each exchange, and one below it for each attempt.

    headers(request, attempt) ──> `traceparent` of the request to the host
    ended(row, request) ──> span ──> the SDK's queue ──> its thread ──> collector

Spans are made of ledger rows, which have all their times, and never hold a prompt, an answer or a key. Their attributes
are those of OpenTelemetry's GenAI conventions, and `gateway.*`. `OTEL_*` variables configure the SDK: sampler, queue,
headers, resource. The queue is bounded and drops what does not fit. No other module imports the SDK.
"""

from collections.abc import Mapping
from threading import Thread
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from requests import Session

from gateway import __version__
from gateway.telemetry.exchange_log import has_failed
from gateway.telemetry.trace_context import HostAddress, TraceContext, context_of, headers_of, span_of
from gateway.types import FAULTS, PICO, Request, Row
from gateway.types.egress import ProxyAddress

SERVICE = "llm-routing-gateway"
LAST_EXPORT = 5.0  # seconds at shutdown
ENDING = 1.0  # seconds more, without retries


class Spans:
    """The spans of one worker. `addresses` are the hosts', by endpoint id; `proxy` is that to the collector."""

    __slots__ = ("_addresses", "_exporter", "_processor", "_resource", "_sampler", "_scope")

    def __init__(self, addresses: Mapping[str, HostAddress], proxy: ProxyAddress | None = None) -> None:
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._addresses = addresses
        self._resource = provider.resource
        self._sampler = provider.sampler
        self._exporter = OTLPSpanExporter(session=_session(proxy))
        self._processor = BatchSpanProcessor(self._exporter)
        self._scope = InstrumentationScope(SERVICE, __version__)

    def __repr__(self) -> str:
        return f"<Spans {self._sampler.get_description()}>"

    def take(self, addresses: Mapping[str, HostAddress]) -> None:
        """Takes other addresses, by endpoint id."""
        self._addresses = addresses

    def headers(self, request: Request, attempt: int) -> bytes:
        context = context_of(request.id, request.trace)
        return headers_of(context, span_of(request.id, attempt), self._samples(context, request.model))

    def ended(self, row: Row, request: Request) -> None:
        context = context_of(request.id, request.trace)
        if not self._samples(context, request.model):
            return
        if row.attempt:
            self._add(row, context, row.attempt, row.at, row.duration)
        if row.last:
            self._add(row, context, 0, row.at + row.duration - row.client_duration, row.client_duration)

    def close(self) -> None:
        last = Thread(target=self._processor.shutdown, daemon=True)
        last.start()
        last.join(LAST_EXPORT)
        if last.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # no more pauses before retries
            last.join(ENDING)

    def _samples(self, context: TraceContext, model: str) -> bool:
        parent = None
        if context.parent:
            above = _span_context(context, context.parent, bool(context.sampled), is_remote=True)
            parent = set_span_in_context(NonRecordingSpan(above))
        result = self._sampler.should_sample(parent, context.trace, f"chat {model}", SpanKind.SERVER)
        return result.decision is Decision.RECORD_AND_SAMPLE

    def _add(self, row: Row, context: TraceContext, attempt: int, start: float, seconds: float) -> None:
        """`attempt` 0: the exchange's span. `start` in unix time."""
        above = span_of(row.exchange) if attempt else context.parent
        failed = row.outcome in FAULTS if attempt else has_failed(row)
        own = _of_attempt(row, self._addresses.get(row.endpoint)) if attempt else _of_exchange(row)
        span = ReadableSpan(
            f"chat {row.model}",
            context=_span_context(context, span_of(row.exchange, attempt), True),
            parent=_span_context(context, above, True, is_remote=not attempt) if above else None,
            resource=self._resource,
            attributes={name: value for name, value in {**_common(row), **own}.items() if value not in (None, "")},
            kind=SpanKind.CLIENT if attempt else SpanKind.SERVER,
            status=Status(StatusCode.ERROR, row.outcome) if failed else Status(),
            start_time=round(start * 1e9),
            end_time=round((start + seconds) * 1e9),
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)


def _session(proxy: ProxyAddress | None) -> Session:
    """By this proxy, not by what requests reads from the environment: it would send loopback through a proxy, and the
    login for the collector from ~/.netrc."""
    session = Session()
    session.trust_env = False
    session.proxies = dict.fromkeys(("http", "https"), proxy.with_login()) if proxy else {}
    return session


def _resource() -> Resource:
    """As the environment has it, with our name where it has none."""
    found = Resource.create({"service.version": __version__})
    unnamed = str(found.attributes.get("service.name", "")).startswith("unknown_service")
    return found.merge(Resource({"service.name": SERVICE})) if unnamed else found


def _span_context(context: TraceContext, span: int, sampled: bool, *, is_remote: bool = False) -> SpanContext:
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(context.trace, span, is_remote, TraceFlags(int(sampled)), state)


def _common(row: Row) -> dict[str, Any]:
    used = row.usage_source != "none"
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": row.provider,
        "gen_ai.request.model": row.model,
        "gen_ai.request.stream": row.stream,
        "gen_ai.response.finish_reasons": [row.finish_reason] if row.finish_reason else None,
        "gen_ai.usage.input_tokens": row.prompt_tokens if used else None,
        "gen_ai.usage.output_tokens": row.completion_tokens if used else None,
        "gen_ai.usage.cache_read.input_tokens": row.cached_tokens if used else None,
        "gen_ai.usage.reasoning.output_tokens": row.reasoning_tokens if used else None,
        "error.type": None if row.outcome in ("ok", "cached") else row.outcome,
        "gateway.exchange": row.exchange,
        "gateway.endpoint": row.endpoint,
        "gateway.policy": row.policy,
    }


def _of_exchange(row: Row) -> dict[str, Any]:
    return {
        "gen_ai.response.id": row.exchange,
        "gen_ai.response.time_to_first_chunk": row.client_ttft,
        "http.response.status_code": row.client_status,
        "gateway.tenant": row.tenant,
        "gateway.app": row.app,
        "gateway.cache": row.cache,
        "gateway.overhead": row.overhead,
    }


def _of_attempt(row: Row, address: HostAddress | None) -> dict[str, Any]:
    host, port = address or (None, None)
    return {
        "gen_ai.response.time_to_first_chunk": row.ttft if row.stream else None,
        "http.response.status_code": row.status or None,
        "server.address": host,
        "server.port": port,
        "gateway.attempt": row.attempt,
        "gateway.cost_usd": row.cost / PICO,
        "gateway.hedge": row.hedge,
    }
