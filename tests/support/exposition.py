"""A gateway's /metrics without the gateway: real `Metrics`, fed with every kind of row at each scrape."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import CONTENT_TYPE, HALF_OPEN, Metrics, count_deaths, prepare_folder
from tests.support.rows import cached_row, row

ENDPOINTS = ("novita/fp8", "siliconflow/fp8", "atlas-cloud/fp8")


def quiet_metrics(folder: Path) -> Metrics:
    """A gateway that has started."""
    prepare_folder(folder)
    count_deaths(folder)
    metrics = Metrics(folder)
    metrics.prepare("deepseek/deepseek-v3.2", ENDPOINTS, "balanced", ("balanced", "floor"))
    metrics.probes.prepare(1.0, ENDPOINTS, ("json",))
    metrics.policy_reloads.reloaded(True)
    metrics.config_reloads.reloaded(True)
    metrics.store_up(True)
    return metrics


def serve_good_answer(metrics: Metrics) -> None:
    """One request, answered at once: the least traffic that a dashboard must show."""
    metrics.record(row(cache="miss"))


def serve_everything(metrics: Metrics) -> None:
    """Answers, failovers, refusals, cancels, cache hits."""
    for number, endpoint in enumerate(ENDPOINTS, 1):
        metrics.record(row(endpoint=endpoint, ttft=0.2 * number, duration=1.0 + number))
        metrics.record(row(endpoint=endpoint, policy="floor", stream=False, ttft=None, client_ttft=None, cache="miss"))
    metrics.record(row(outcome="server", status=500, ttft=None, usage_source="none", cost=0, last=False))
    metrics.record(row(attempt=2, endpoint=ENDPOINTS[1], client_ttft=3.0, client_duration=6.0))
    metrics.record(row(outcome="cut", client_status=200))
    metrics.record(row(outcome="cancelled", hedge="beaten", regret=1_000_000, regret_reason="sample", last=False))
    metrics.record(row(attempt=2, endpoint=ENDPOINTS[1], hedge="won", tools="not_json"))
    metrics.record(row(outcome="cancelled", client_status=499))
    metrics.record(row(endpoint="", attempt=0, outcome="unrouted", client_status=503, usage_source="none", ttft=None))
    metrics.record(cached_row())
    metrics.in_flight(1)
    metrics.endpoint_state(ENDPOINTS[2], HALF_OPEN)
    metrics.ledger_error()


def values(metrics: Metrics, name: str, **labels: str) -> list[float]:
    """The series of this name with these labels; empty where there is none."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    found = (one for family in families for one in family.samples if one.name == name)
    return [one.value for one in found if labels.items() <= one.labels.items()]


def total(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of these series; 0 where there is none."""
    return sum(values(metrics, name, **labels))


@contextmanager
def served(metrics: Metrics, traffic: Callable[[Metrics], None]) -> Iterator[str]:
    """Serve the exposition at the yielded `host:port`; `traffic(metrics)` happens before each scrape."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            traffic(metrics)
            metrics.flush()
            body = metrics.exposition()
            self.send_response(200)
            self.send_header("content-type", CONTENT_TYPE)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
