"""Traces, as a collector gets them: a real OTLP receiver on loopback decodes what the SDK sends."""

import gzip
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.telemetry import spans, tracing
from gateway.telemetry.trace_context import context_of, headers_of, span_of
from gateway.telemetry.tracing import is_on
from gateway.types import Endpoint, IncomingTrace
from gateway.types.egress import ProxyAddress
from tests.proxy.routed import Routed
from tests.support.gateway import DIRECT_ONLY
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, streams

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "the-prompt-nobody-may-see"
SERVER = Span.SpanKind.SPAN_KIND_SERVER
CLIENT = Span.SpanKind.SPAN_KIND_CLIENT
ERROR = Status.StatusCode.STATUS_CODE_ERROR


class Collector:
    """Keeps what is exported to it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}

    async def __call__(self, request: Received, out: Out) -> None:
        assert (request.path, request.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        packed = request.headers.get("content-encoding") == "gzip"
        export = ExportTraceServiceRequest.FromString(gzip.decompress(request.body) if packed else request.body)
        for resource in export.resource_spans:
            self.resource = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        await out.head(200, {"content-length": "0"}, chunked=False)
        out.ended = True


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    return Collector()


def attributes(span: Span) -> dict[str, object]:
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


@DIRECT_ONLY  # rows are the same over either sink
async def test_an_exchange_with_two_attempts(
    routed: Routed, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's trace is continued: its span, ours, and one for each attempt, which the hosts continue."""
    async with (
        ScriptedHost(collector) as receiver,
        ScriptedHost(answers(503, {"error": {"message": "too busy"}})) as bad,
        ScriptedHost(streams(chunks("Hello"))) as good,
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        async with routed(bad, good) as running:
            sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
            answer = await running.chat(SECRET, stream=True, headers=sent)
            assert "Hello" in answer.text
    served, failed, won = sorted(collector.spans, key=lambda span: (span.kind != SERVER, span.start_time_unix_nano))
    assert collector.resource["service.name"] == "llm-routing-gateway"
    assert collector.resource["deployment.environment.name"] == "test"
    assert {span.name for span in collector.spans} == {"chat deepseek/deepseek-v3.2"}
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert [span.kind for span in (served, failed, won)] == [SERVER, CLIENT, CLIENT]
    assert [span.parent_span_id.hex() for span in (served, failed, won)] == [PARENT, *[served.span_id.hex()] * 2]
    for host, span in ((bad, failed), (good, won)):
        (request,) = host.requests
        assert request.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert request.headers["tracestate"] == span.trace_state == "vendor=1"
    assert served.start_time_unix_nano <= failed.start_time_unix_nano <= failed.end_time_unix_nano
    assert failed.end_time_unix_nano <= won.end_time_unix_nano
    assert (failed.status.code, failed.status.message) == (ERROR, "server")
    assert served.status.code == won.status.code == 0
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "deepseek/deepseek-v3.2",
        "gen_ai.request.stream": True,
        "gateway.endpoint": "b/fp8",
        "gateway.policy": "test",
        "gateway.exchange": answer.headers["x-generation-id"],
    }
    assert expected.items() <= attributes(served).items()
    assert attributes(served)["http.response.status_code"] == 200
    assert attributes(failed)["error.type"] == "server"
    assert attributes(failed)["http.response.status_code"] == 503
    last = attributes(won)
    assert expected.items() <= last.items()
    assert (last["server.address"], last["server.port"], last["gateway.attempt"]) == ("127.0.0.1", good.port, 2)
    assert last["gen_ai.response.finish_reasons"] == ["stop"]
    assert isinstance(last["gen_ai.usage.output_tokens"], int)
    assert last["gen_ai.usage.output_tokens"] > 0
    assert SECRET not in str(collector.spans)


@DIRECT_ONLY
async def test_a_trace_of_its_own_and_one_that_is_not_sampled(
    routed: Routed, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedHost(collector) as receiver, ScriptedHost(streams(chunks("Hello"))) as host:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        async with routed(host) as running:
            await running.chat(stream=True)
            await running.chat(stream=True, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    served, attempt = sorted(collector.spans, key=lambda span: span.kind != SERVER)
    assert (served.parent_span_id, attempt.parent_span_id) == (b"", served.span_id)
    assert host.requests[0].headers["traceparent"] == f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-01"
    unsampled = host.requests[1].headers["traceparent"]
    assert unsampled.startswith(f"00-{TRACE}-")
    assert unsampled.endswith("-00")
    assert TRACE not in {span.trace_id.hex() for span in collector.spans}


@DIRECT_ONLY
async def test_a_collector_that_is_away_fails_no_request(
    routed: Routed, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.telemetry.spans.LAST_EXPORT", 0.1)
    async with ScriptedHost(streams(chunks("Hello"))) as host:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        async with routed(host) as running:
            assert "Hello" in (await running.chat(stream=True)).text
    assert not [one.name for one in threading.enumerate() if one.name.startswith("OtelBatch")]  # no retry goes on


@DIRECT_ONLY
async def test_off_hosts_get_no_header(routed: Routed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    async with ScriptedHost(streams(chunks("Hello"))) as host, routed(host) as running:
        await running.chat(stream=True, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert not {"traceparent", "tracestate"} & host.requests[0].headers.keys()


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
    ],
)
def test_the_standard_variables_turn_it_on(environ: dict[str, str], on: bool) -> None:
    assert is_on(environ) is on


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://one.example/v1", ("one.example", 443)),
        ("http://one.example/v1", ("one.example", 80)),
        ("http://127.0.0.1:8000/v1", ("127.0.0.1", 8000)),
    ],
)
def test_a_hosts_address_has_the_port_of_its_scheme(url: str, address: tuple[str, int]) -> None:
    assert tracing.addresses([Endpoint("a", "a", url, "m")]) == {"a": address}


def test_a_missing_package_is_logged_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    assert tracing.tracing({"OTEL_TRACES_EXPORTER": "otlp"}) is None
    assert "install llm-routing-gateway[otel]" in caplog.text


def test_off_nothing_of_it_is_imported() -> None:
    script = (
        "import sys, gateway.app, gateway.server.supervisor; print([n for n in sys.modules if 'opentelemetry' in n])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\r\nx: y",
    ],
)
def test_an_invalid_traceparent_starts_a_new_trace(parent: str) -> None:
    assert context_of("gen-1", IncomingTrace(parent, "a=b")) == context_of("gen-1", None)


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    context = context_of("gen-1", IncomingTrace(f"01-{TRACE}-{PARENT}-03-more", ""))
    assert (f"{context.trace:032x}", f"{context.parent:016x}", context.sampled) == (TRACE, PARENT, True)


@given(st.text(min_size=1), st.integers(0, 5), st.text(), st.booleans())
def test_what_is_passed_on_is_valid_and_on_lines_of_its_own(
    exchange: str, attempt: int, state: str, sampled: bool
) -> None:
    context = context_of(exchange, IncomingTrace(f"00-{TRACE}-{PARENT}-01", state))
    lines = headers_of(context, span_of(exchange, attempt), sampled).decode("ascii").splitlines(keepends=True)
    assert len(lines) in (1, 2)
    assert all(line.endswith("\r\n") for line in lines)
    again = context_of(exchange, IncomingTrace(lines[0].partition(": ")[2].strip(), ""))
    assert again == context._replace(parent=span_of(exchange, attempt), sampled=sampled, state="")


@pytest.mark.parametrize(
    ("collector", "proxied"),
    [("http://collector.example:4318", True), ("http://127.0.0.1:4318", False), ("", False)],
)
def test_spans_go_by_the_environments_proxy_and_loopback_does_not(
    collector: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ProxyAddress | None] = []
    monkeypatch.setattr(spans, "Spans", lambda _, proxy: made.append(proxy))
    environ = {"OTEL_TRACES_EXPORTER": "otlp", "ALL_PROXY": "http://me:p%40ss@proxy:1"}
    tracing.tracing(environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector})
    (proxy,) = made
    session = spans._session(proxy)
    assert session.proxies.get("https") == ("http://me:p%40ss@proxy:1" if proxied else None)
    assert not session.trust_env, "else requests reads the environment again, and ~/.netrc"


def test_a_proxy_that_cannot_be_used_turns_traces_off(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example", "ALL_PROXY": "socks5://me:hunter2@proxy:1"}
    assert tracing.tracing(environ) is None
    assert "ALL_PROXY: is not an HTTP proxy" in caplog.text
    assert "hunter2" not in caplog.text
