"""Traffic against a simulated host that stands in for the gateway: both speak OpenAI's format."""

import asyncio

import httpx
import pytest

from gateway.sim.host import serving
from gateway.sim.traffic import CONCURRENCY, Mix, Summary, Traffic
from gateway.sim.workload import Scale, TraceRow, read_trace
from tests.sim.world import STEADY

FAST = Scale(time=1e6, chunk_words=2, output=0.05)


async def until(traffic: Traffic, done: int) -> Summary:
    """Run until `done` requests have ended, then cancel."""
    task = asyncio.create_task(traffic.run())
    while traffic.summary.ok + traffic.summary.failed < done:
        await asyncio.sleep(0.005)
        assert traffic.summary.in_flight <= CONCURRENCY
        assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return traffic.summary


async def test_the_sample_is_replayed_round_after_round() -> None:
    rows = read_trace(limit=40)
    async with serving([STEADY], speed=0) as addresses:
        summary = await until(Traffic(f"{addresses[STEADY.id]}/v1", "key", rows, scale=FAST), done=100)
    assert summary.ok >= 100
    assert (summary.failed, summary.in_flight, summary.last_failure) == (0, 0, "")


async def test_failures_are_counted_and_the_traffic_goes_on() -> None:
    mix = Mix(streamed=1.0)
    async with serving([STEADY], speed=0) as addresses:
        async with httpx.AsyncClient(base_url=addresses[STEADY.id]) as client:
            await client.post("/_sim", json={"next": ["429", "cut", "in_band", "drop"]})
        traffic = Traffic(f"{addresses[STEADY.id]}/v1", None, read_trace(limit=20), mix=mix, scale=FAST)
        summary = await until(traffic, 40)
    assert summary.failed == 4
    assert summary.ok >= 36
    assert summary.last_failure in {"429", "cut", "error in the answer", "IncompleteReadError"}


async def test_a_gateway_that_is_not_there_is_a_failure_and_no_crash() -> None:
    async with serving([STEADY], speed=0) as addresses:
        gone = addresses[STEADY.id]
    summary = await until(Traffic(gone, None, read_trace(limit=5), scale=FAST), done=10)
    assert summary.ok == 0
    assert summary.last_failure == "ConnectionRefusedError"


def test_requests_vary_by_the_weights_of_the_mix() -> None:
    row = TraceRow(0.0, 600, 100, (0, 1))
    mix = Mix(policies={"balanced": 3, "floor": 1}, streamed=0.5, tools=0.3, thinking=0.3, repeated=0.2)
    traffic = Traffic("http://127.0.0.1:1/v1", None, [row], mix=mix, seed=3)
    dressed = [traffic.dress(row) for _ in range(1000)]
    bodies = [body for body, _ in dressed]
    assert 700 < sum(body["model"].endswith(":balanced") for body in bodies) < 800
    assert 450 < sum("stream" in body for body in bodies) < 550
    assert 160 < sum(cacheable for _, cacheable in dressed) < 240
    assert all("tools" not in body for body, cacheable in dressed if cacheable)
    assert sum("tools" in body for body in bodies) > 180
    assert sum("thinking" in body for body in bodies) > 120


@pytest.mark.parametrize("url", ["https://example.com/v1", "127.0.0.1:80", ""])
def test_an_address_it_cannot_use_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http"):
        Traffic(url, None, [TraceRow(0.0, 1, 1, (0,))])
