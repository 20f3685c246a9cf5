import os
import subprocess
import sys
from pathlib import Path

from prometheus_client import Metric

from gateway.telemetry.metric_values import Values
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.process_metrics import Processes

NAMES = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}


def found(*pids: int) -> list[Metric]:
    return list(Processes(lambda: map(str, pids)).collect())


def test_each_process_has_every_metric_with_its_id() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        samples = [sample for family in found(os.getpid(), other.pid) for sample in family.samples]
        other.communicate(b"\n")
    expected = {(name, str(pid)) for name in NAMES for pid in (os.getpid(), other.pid)}
    assert {(sample.name, sample.labels["pid"]) for sample in samples} == expected
    assert len(samples) == len(expected)


def test_a_process_that_ended_has_no_samples() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert found(ended.pid) == []


def test_the_processes_are_the_workers_that_published_and_this_one(tmp_path: Path) -> None:
    for name in ("counter_7.db", "gauge_livemax_8.db", "counter_supervisor.db"):
        (tmp_path / name).touch()
    assert Values(tmp_path).pids() == sorted(["7", "8", str(os.getpid())])


def test_a_scrape_shows_the_process_that_serves_it(tmp_path: Path) -> None:
    text = Metrics(tmp_path).exposition().decode()
    assert f'process_resident_memory_bytes{{pid="{os.getpid()}"}}' in text
