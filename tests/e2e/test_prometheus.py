"""The dashboards and the rules against a real Prometheus that scraped the running gateway under traffic."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from gateway.sim.demofleet import FLEET
from gateway.sim.host import serving
from gateway.sim.traffic import Traffic
from gateway.sim.workload import read_trace
from tests.grafana.boards import expressions
from tests.grafana.test_rules import rules
from tests.support.gateway import gateway_command
from tests.support.prometheus import running_prometheus

HOST_SPEED = 50.0  # simulated seconds in a second


NEEDS_A_WEEK = {"gateway:price:usd_per_million6h"}  # and 100,000 tokens


def _recorded() -> list[tuple[str, str]]:
    return [(name, name) for rule in rules() if (name := rule.get("record")) and name not in NEEDS_A_WEEK]


async def test_every_panel_and_recording_rule_has_data_while_traffic_flows(tmp_path: Path) -> None:
    async with serving(FLEET, speed=HOST_SPEED) as hosts, gateway_command(tmp_path, hosts) as running:
        with running_prometheus(tmp_path, [urlsplit(running.url).netloc]) as prometheus:
            traffic = asyncio.create_task(Traffic(f"{running.url}/v1", "any", read_trace(limit=200)).run())
            try:
                await asyncio.to_thread(prometheus.wait_for_rules, 5)
                without = await asyncio.to_thread(prometheus.without_data, [*expressions(), *_recorded()])
            finally:
                traffic.cancel()
                await asyncio.gather(traffic, return_exceptions=True)
    assert without == []
