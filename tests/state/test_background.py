"""What ends in the background starts again."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator

import pytest

from gateway.state.background import FIRST_PAUSE, LONGEST_PAUSE, Background
from gateway.state.conditions import Conditions
from tests.support.valkey import until


class Pauses:
    """Takes the place of sleep: a pause lasts until it is let go on."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._go_on = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self._go_on.wait()
        self._go_on.clear()

    def end(self) -> None:
        self._go_on.set()


class Work:
    """Ends with each of `ends` in turn, then goes on."""

    def __init__(self, *ends: Exception | None) -> None:
        self._ends = list(ends)
        self.starts = 0

    async def __call__(self) -> None:
        self.starts += 1
        if not self._ends:
            await asyncio.Event().wait()
        if error := self._ends.pop(0):
            raise error


@pytest.fixture
def conditions() -> Conditions:
    return Conditions()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def background(conditions: Conditions, pauses: Pauses) -> AsyncIterator[Background]:
    background = Background(conditions, pauses)
    yield background
    await background.stop()


async def test_what_ends_is_started_again_and_shown_as_failing_meanwhile(
    background: Background, conditions: Conditions, pauses: Pauses
) -> None:
    work = Work(OSError(errno.EIO, "Input/output error"), None)
    background.keep("policies", work)
    await until(lambda: len(pauses.seconds) == 1)
    assert conditions.failing == {"task policies": "Input/output error"}
    pauses.end()
    await until(lambda: len(pauses.seconds) == 2)
    assert conditions.failing == {"task policies": "the task returned"}
    pauses.end()
    await until(lambda: work.starts == 3)
    assert not conditions.failing


async def test_pauses_grow_to_a_bound(background: Background, pauses: Pauses) -> None:
    background.keep("flush", Work(*[ValueError("again")] * 9))
    for number in range(1, 10):
        await until(lambda: len(pauses.seconds) == number)  # noqa: B023
        pauses.end()
    assert pauses.seconds[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses.seconds[-1] == LONGEST_PAUSE


async def test_each_kind_of_end_has_one_traceback(
    background: Background, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        background.keep("gossip", Work(ValueError("a"), ValueError("b"), KeyError("c")))
        for number in (1, 2, 3):
            await until(lambda: len(pauses.seconds) == number)  # noqa: B023
            pauses.end()
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, True]


async def test_stop_ends_what_runs_and_what_pauses(conditions: Conditions, pauses: Pauses) -> None:
    background = Background(conditions, pauses)
    running, pausing = Work(), Work(ValueError("x"))
    background.keep("flush", running)
    background.keep("shipper", pausing)
    await until(lambda: running.starts == pausing.starts == 1)
    await background.stop()
    pauses.end()
    await asyncio.sleep(0)
    assert pausing.starts == 1
