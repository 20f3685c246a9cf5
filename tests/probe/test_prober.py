"""When scheduled probes are sent, and when not: with a real store, and simulated hosts in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import cast

import pytest
import redis

from gateway.config import ProbeSettings
from gateway.probe.endpoint_record import decoded
from gateway.probe.probe_runner import ProbeRunner
from gateway.probe.probe_store import LOCK, SPENT, ProbeStore
from gateway.probe.prober import Prober
from gateway.sim.flaws import Flaws
from gateway.telemetry.metrics import Metrics, prepare_folder
from gateway.types import PICO
from tests.probe.lab import STEADY, Lab
from tests.support.exposition import total, values

NAMES = [host.id for host in STEADY]
HOUR = 3_600
EACH = 6  # requests of a round at one endpoint, without needle and context: as many as all of STEADY support


class Watch:
    """One worker's prober with its hosts, and what its metrics say."""

    def __init__(self, url: str, folder: Path, usd: float = 1.0, flaws: dict[str, Flaws] | None = None) -> None:
        self.lab = Lab(STEADY, (), 0, flaws or {})
        self.lab.now = 1_000_000
        self.metrics = Metrics(folder)
        settings = ProbeSettings(usd, HOUR)
        self.store = ProbeStore(url, round(usd * PICO))
        runner = cast(ProbeRunner, self.lab)
        self.prober = Prober(settings, [self.lab.model], runner, self.store, self.metrics.probes, Random(0))

    async def look(self) -> list[str]:
        """Which endpoints were asked, once for each request."""
        self.lab.asked.clear()
        await self.store.link.attempt(self.prober.look)
        return list(self.lab.asked)

    def metric(self, name: str, **labels: str) -> float:
        return total(self.metrics, name, **labels)


Another = Callable[..., Watch]


@pytest.fixture
async def another(engine: str, client: redis.Redis, tmp_path: Path) -> AsyncIterator[Another]:
    """One more worker at the same store, which was empty."""
    made: list[Watch] = []

    def make(url: str = engine, **more: object) -> Watch:
        folder = tmp_path / str(len(made))
        prepare_folder(folder)
        made.append(Watch(url, folder, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.prober.close()
    await asyncio.sleep(0)  # the sockets close


def kept(client: redis.Redis, name: str) -> int:
    """Rounds of an endpoint, as the store has them."""
    return decoded(client.get(f"gw:{{probes}}:endpoint:{name}")).rounds


async def test_all_endpoints_are_probed_once_in_an_interval(another: Another, client: redis.Redis) -> None:
    watch = another()
    asked = await watch.look()
    assert {name: asked.count(name) for name in NAMES} == dict.fromkeys(NAMES, EACH)
    assert await watch.look() == []
    watch.lab.now += HOUR - 1
    assert await watch.look() == []
    watch.lab.now += 1
    assert set(await watch.look()) == set(NAMES)
    assert [kept(client, name) for name in NAMES] == [2] * len(NAMES)


async def test_the_long_prompts_are_rare(another: Another) -> None:
    watch = another()
    requests = []
    for _ in range(7):
        requests.append((await watch.look()).count(NAMES[0]))
        watch.lab.now += HOUR
    assert requests == [EACH] * 5 + [EACH + 1, EACH]


async def test_another_worker_goes_on_where_the_first_one_stopped(another: Another) -> None:
    first, second = another(), another()
    assert await first.look()
    assert await second.look() == []
    second.lab.now += HOUR
    assert await second.look()
    assert second.metric("gateway_probe_runs_total", endpoint=NAMES[0], outcome="ok") == 1


async def test_only_the_worker_with_the_lock_probes_and_a_dead_ones_lock_ends(
    another: Another, client: redis.Redis
) -> None:
    watch = another()
    client.set(LOCK, "a worker that died", px=60_000)
    assert await watch.look() == []
    client.delete(LOCK)  # as after its time
    assert await watch.look()
    assert client.get(LOCK) is None


async def test_a_lock_that_is_lost_ends_the_round(another: Another, client: redis.Redis) -> None:
    watch = another()
    watch.lab.on_request = lambda: client.set(LOCK, "another worker")
    assert len(await watch.look()) == 1
    assert client.get(LOCK) == b"another worker"


@pytest.mark.parametrize("usd", [0.0, 0.0003, 0.001, 0.002, 0.004])
async def test_the_budget_is_never_exceeded_and_nothing_is_sent_beyond_it(
    another: Another, client: redis.Redis, usd: float
) -> None:
    watch = another(usd=usd)
    while await watch.look():
        watch.lab.now += HOUR
    spent = int(client.hget(SPENT, "spent") or 0)  # type: ignore[arg-type]
    assert spent <= usd * PICO
    assert watch.metric("gateway_probe_spent_usd_total") == pytest.approx(spent / PICO)
    assert watch.metric("gateway_probe_spent_today_usd") == pytest.approx(spent / PICO)


async def test_who_was_not_paid_for_comes_first_when_there_is_money(another: Another, client: redis.Redis) -> None:
    watch = another(usd=0.0008)
    first = await watch.look()
    left = [name for name in NAMES if name not in first]
    assert left
    client.delete(SPENT)
    again = another(usd=0.0008)  # one that has seen nothing of the day
    assert (await again.look())[0] in left


async def test_without_the_store_nothing_is_sent(another: Another) -> None:
    watch = another("unix:///nowhere/at/all")
    assert await watch.look() == []


async def test_a_store_that_goes_away_ends_the_round_and_what_was_reserved_stays(
    another: Another, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = another()

    async def settle(*_: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(watch.store, "settle", settle)
    assert len(await watch.look()) == 1
    assert int(client.hget(SPENT, "spent") or 0) > 0  # type: ignore[arg-type]
    assert kept(client, NAMES[0]) == 0


async def test_drift_is_shown_by_every_worker(another: Another) -> None:
    worse, other = another(flaws={NAMES[1]: Flaws(tools=1.0)}), another()
    for _ in range(4):
        await worse.look()
        worse.lab.now += HOUR
    await other.look()
    for watch in (worse, other):
        assert watch.metric("gateway_probe_drift", endpoint=NAMES[1], canary="tool_call") == 1
        assert watch.metric("gateway_probe_drift", endpoint=NAMES[0], canary="tool_call") == 0
    assert worse.metric("gateway_probe_canaries_total", endpoint=NAMES[1], canary="tool_call", result="failed") == 4


async def test_a_wrong_call_is_learned_as_a_bad_one(another: Another) -> None:
    watch = another(flaws={NAMES[1]: Flaws(tools=1.0)})
    before = watch.lab.fleet.states[NAMES[1]].tools_ok
    await watch.look()
    watch.lab.fleet.refresh(float(watch.lab.now + 10))
    assert watch.lab.fleet.states[NAMES[1]].tools_ok < before


async def test_the_series_are_there_before_the_first_round(another: Another) -> None:
    watch, at = another(usd=0.5), NAMES[0]
    assert watch.metric("gateway_probe_budget_usd_per_day") == 0.5
    assert values(watch.metrics, "gateway_probe_runs_total", endpoint=at, outcome="ok") == [0]
    assert values(watch.metrics, "gateway_probe_drift", endpoint=at, canary="json") == [0]
    for result in ("passed", "failed"):
        assert values(watch.metrics, "gateway_probe_canaries_total", endpoint=at, canary="json", result=result) == [0]
