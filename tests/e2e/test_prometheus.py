"""The dashboard against a real Prometheus that scraped the running gateway under traffic."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from gateway.sim.demofleet import FLEET
from gateway.sim.host import serving
from gateway.sim.traffic import Traffic
from gateway.sim.workload import read_trace
from grafana import build
from tests.support.gateway import gateway_command
from tests.support.prometheus import running_prometheus

HOST_SPEED = 50.0  # simulated seconds in a second


def _expressions() -> list[tuple[str, str]]:
    panels = [panel for panel in build.dashboard()["panels"] if panel["type"] != "row"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


async def test_every_panel_has_data_while_traffic_flows(tmp_path: Path) -> None:
    async with serving(FLEET, speed=HOST_SPEED) as hosts, gateway_command(tmp_path, hosts) as running:
        with running_prometheus(tmp_path, [urlsplit(running.url).netloc]) as prometheus:
            traffic = asyncio.create_task(Traffic(f"{running.url}/v1", "any", read_trace(limit=200)).run())
            try:
                await asyncio.to_thread(prometheus.wait_for_scrapes, 5)
                without = [
                    (title, expression)
                    for title, expression in _expressions()
                    if not await asyncio.to_thread(prometheus.finite, expression)
                ]
            finally:
                traffic.cancel()
                await asyncio.gather(traffic, return_exceptions=True)
    assert without == []
