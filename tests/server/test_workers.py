"""Workers that die are replaced, said and counted; who dies again and again waits longer; the end begins at once."""

import asyncio
import os
import signal
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uvicorn.supervisors.multiprocess import Process

from gateway.server.oom_kills import OomKills
from gateway.server.workers import LATEST, LOOP, SILENT, STARTING, YOUNG, WorkerSlot, _how
from tests.server.test_supervisor import served
from tests.support.gateway import Running
from tests.support.processes import command_of, descendants


def workers_of(running: Running) -> list[int]:
    assert running.process is not None
    return [child for child in descendants(running.process.pid) if "spawn_main" in command_of(child)]


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS])
async def test_a_death_is_said_and_counted(tmp_path: Path, number: signal.Signals) -> None:
    async with served(tmp_path, "--workers", "2") as (running, log):
        await until(lambda: len(workers_of(running)) == 2)
        victim = workers_of(running)[0]
        os.kill(victim, number)
        await until(lambda: f"worker {victim} died: signal {number.name}; restarting now" in log())
        await until(lambda: len([one for one in workers_of(running) if one != victim]) == 2)
        async with asyncio.timeout(60):
            while await running.metric("gateway_worker_deaths_total") != 1:
                await asyncio.sleep(0.05)
        assert "Traceback" not in log()


class Pinged:
    """A worker that answers pings as long as `answers`."""

    def __init__(self) -> None:
        self.parent_conn, self.child = Pipe()

    def answer(self) -> int:
        """How many pings have come."""
        count = 0
        while self.child.poll(0):
            self.child.recv()
            self.child.send(True)
            count += 1
        return count


def watch(process: Any = None) -> WorkerSlot:
    return WorkerSlot(cast(Process, process or SimpleNamespace()), 0.0)


def looks(place: WorkerSlot, start: float, end: float) -> bool:
    """Whether it is hung at the end of this time, looked at twice a second as the supervisor does."""
    hung = [place.is_hung(half / 2) for half in range(int(start * 2), int(end * 2) + 1)]
    assert not any(hung[:-1])
    return hung[-1]


def test_a_busy_worker_has_a_minute_to_answer() -> None:
    process = Pinged()
    place = watch(process)
    assert not place.is_hung(0)
    assert process.answer() == 1
    assert not looks(place, 1, SILENT)
    assert process.answer() == 1, "one ping is enough"
    assert not looks(place, SILENT + 1, 2 * SILENT)
    assert looks(place, 2 * SILENT + 0.5, 2 * SILENT + 1.5)


def test_a_worker_that_starts_has_longer() -> None:
    """On a starved machine a process may need minutes until it can answer. So has the next one in its place."""
    process, other = Pinged(), Pinged()
    place = watch(process)
    assert not looks(place, 0, STARTING)
    assert looks(place, STARTING, STARTING + 0.5)
    place.died(STARTING + 1)
    place.replaced(cast(Process, other), STARTING + 1)
    assert not looks(place, STARTING + 1, 2 * STARTING)


def test_the_time_in_which_the_supervisor_did_not_run_does_not_count() -> None:
    """The container was frozen right after a ping, or the supervisor had no CPU time: its workers had none, either."""
    process = Pinged()
    place = watch(process)
    place.is_hung(0)
    process.answer()
    assert not place.is_hung(1)
    assert not place.is_hung(3_600)
    assert process.answer() == 1
    assert not place.is_hung(3_601)
    assert not looks(place, 3_602, 3_601 + SILENT)
    assert place.is_hung(3_601.5 + SILENT)


def test_a_worker_that_has_closed_its_end_is_not_hung() -> None:
    process = Pinged()
    process.child.close()
    assert not watch(process).is_hung(1.0)


def test_a_first_death_is_mended_at_once_and_a_loop_ever_later() -> None:
    place, now, waits = watch(), 10.0, []
    for _ in range(9):
        waits.append(place.died(now))
        now += waits[-1]
        place.replaced(cast(Process, SimpleNamespace()), now)
        now += 1
    assert waits[:4] == [0.0, 1.0, 2.0, 4.0]
    assert waits[-1] == LATEST
    assert place.died(now + YOUNG) == 0.0, "it has lived well in between"


@pytest.mark.parametrize(
    ("code", "said"), [(1, "exit code 1"), (-9, "signal SIGKILL"), (-7, "signal SIGBUS"), (-99, "signal 99")]
)
def test_how_a_worker_ended(code: int, said: str) -> None:
    assert _how(code) == said


def test_a_kill_for_lack_of_memory_is_said() -> None:
    assert _how(-9, oom_killed=True) == "signal SIGKILL, out of memory"
    assert _how(-11, oom_killed=True) == "signal SIGSEGV"


def test_the_kernels_count_says_who_lacked_memory(tmp_path: Path) -> None:
    events, missing = tmp_path / "memory.events", tmp_path / "missing"
    events.write_text("low 0\noom 3\noom_kill 1\n")
    kills = OomKills([events, missing])
    assert not kills.seen()
    events.write_text("low 0\noom 4\noom_kill 2\n")
    assert [kills.seen(), kills.seen()] == [True, False]


def test_three_deaths_in_a_row_are_a_loop_until_it_lives() -> None:
    place, now = watch(), 10.0
    for _ in range(LOOP):
        assert not place.is_looping(now)
        place.died(now)
        place.replaced(cast(Process, SimpleNamespace()), now)
    assert place.is_looping(now)
    assert not place.is_looping(now + YOUNG)


def test_news_reach_a_worker_in_order_and_the_latest_of_each_kind() -> None:
    process = Pinged()
    place = watch(process)
    for news in (1, "a", 2, "b", 3):
        place.post(news)
    place.is_hung(0.0)
    received = []
    while process.child.poll(0):
        received.append(process.child.recv())
    assert received == ["b", 3, b"ping"]
