"""Prometheus' standard `process_*` metrics, of every worker.

    scrape ──> Processes.collect() ──pids()──> /proc/4711, /proc/4712 ... ──> process_cpu_seconds_total{pid="4711"} ...

They are read when the metrics are scraped, by the worker that serves the scrape: nothing is done between scrapes.
"""

from collections.abc import Callable, Iterable

from prometheus_client import Metric, ProcessCollector
from prometheus_client.registry import Collector


class Processes(Collector):
    """The processes whose ids `pids` returns; one that has ended has no samples."""

    def __init__(self, pids: Callable[[], Iterable[str]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for pid in self._pids():
            for metric in _of(pid):
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"pid": pid}, sample.value)
        return families.values()


def _of(pid: str) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
