"""A real Prometheus that scrapes what a test serves, and answers the queries that a dashboard asks.

with running_prometheus(tmp_path, ["127.0.0.1:8080"]) as prometheus:
    prometheus.wait_for_scrapes(3)
    assert prometheus.finite(expression)
"""

import json
import math
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import needs

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: gateway
    static_configs: [{{targets: {targets}}}]
"""
LAST_RECORDED = ("gateway:success:burn_rate6h", "gateway:ttft:burn_rate6h", "gateway:tokens:increase5m")
WINDOW = "20s"  # what Grafana's time variables become
RULES = Path(__file__).parents[2] / "grafana/prometheus/rules.yml"
DAY = 86_400
PATIENCE = 120.0  # seconds
GRAFANA_VARIABLE = re.compile(r"\$(?:__rate_interval|__interval|__range)\b")
LABEL_VARIABLE = re.compile(r"\$\w+")


class Prometheus:
    """A running server. `query` raises on an expression that does not parse."""

    def __init__(self, address: str, targets: int) -> None:
        self._address = address
        self._targets = targets

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The instant vector, `[{"metric": labels, "value": [time, text]}]`; `at` in unix time, now if None."""
        wanted = {"query": expression} if at is None else {"query": expression, "time": str(at)}
        url = f"http://{self._address}/api/v1/query?{urllib.parse.urlencode(wanted)}"
        with urllib.request.urlopen(url, timeout=60) as response:
            result: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return result

    def finite(self, expression: str) -> bool:
        """Whether a panel's expression, with Grafana's variables set to "all", has at least one number now. One of
        whole days is evaluated where Grafana's steps are, at midnight (UTC)."""
        plain = LABEL_VARIABLE.sub(".+", GRAFANA_VARIABLE.sub(WINDOW, expression))
        at = time.time() // DAY * DAY if "offset -1d" in plain else None
        return any(math.isfinite(float(series["value"][1])) for series in self.query(plain, at))

    def without_data(self, expressions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The (title, expression) pairs that never have a number: a scrape that a busy machine lost is no reason."""
        missing = list(expressions)
        deadline = time.monotonic() + PATIENCE
        while missing := [pair for pair in missing if not self.finite(pair[1])]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        return missing

    def wait_for_rules(self, count: int) -> None:
        """Until every target was scraped this many times, and the rules were evaluated on that."""
        self.wait_for_scrapes(count)
        deadline = time.monotonic() + PATIENCE
        while not all(self.finite(name) for name in LAST_RECORDED):
            if time.monotonic() > deadline:
                pytest.fail(f"{LAST_RECORDED} were not recorded within {PATIENCE:g} s")
            time.sleep(0.1)

    def wait_for_scrapes(self, count: int) -> None:
        """Until every target is up and was scraped this many times."""
        expression = f'sum_over_time(up{{job="gateway"}}[1m]) >= {count}'
        deadline = time.monotonic() + PATIENCE
        while len(self.query(expression)) < self._targets:
            if time.monotonic() > deadline:
                pytest.fail(f"no {count} scrapes of {self._targets} targets within {PATIENCE:g} s: {self.query('up')}")
            time.sleep(0.1)


@contextmanager
def running_prometheus(folder: Path, targets: list[str]) -> Iterator[Prometheus]:
    """Scrape each `host:port` of `targets`, and evaluate the rules, every second.

    Skips the test where Prometheus is not installed."""
    binary = needs("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(targets=json.dumps(targets)))
    (folder / "rules.yml").write_text(re.sub(r"interval: \w+", "interval: 1s", RULES.read_text()))
    flags = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", "--web.listen-address=127.0.0.1:0"]
    log = folder / "prometheus.log"
    with log.open("w") as output, subprocess.Popen([binary, *flags], stderr=output) as server:
        try:
            yield Prometheus(_address(server, log), len(targets))
        finally:
            server.terminate()


def _address(server: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the kernel put the server, once it says that it is ready."""
    deadline = time.monotonic() + PATIENCE
    while True:
        text = log.read_text()
        found = re.search(r'msg="Listening on" address=(\S+)', text)
        if found and "Server is ready" in text:
            return found[1]
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"prometheus did not start:\n{text}")
        time.sleep(0.05)
