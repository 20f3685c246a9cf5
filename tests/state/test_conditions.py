import errno
import logging
import re
from inspect import getsource

import pytest

from gateway.app import Worker
from gateway.state.conditions import TASKS, Conditions


def test_a_part_fails_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    conditions = Conditions(counted.append)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            conditions.failed("ledger", OSError(errno.ENOSPC, "No space left on device", "/state/ledger"))
        assert conditions.failing == {"ledger": "No space left on device: /state/ledger"}
        for _ in range(2):
            conditions.works("ledger")
    assert not conditions.failing
    assert counted == ["ledger", "ledger"]
    assert [record.getMessage() for record in caplog.records] == [
        "ledger fails, rows wait in memory: No space left on device: /state/ledger",
        "ledger works again",
    ]


def test_what_is_noted_goes_no_further_and_is_forgotten_when_it_works() -> None:
    conditions = Conditions()
    with conditions.noted("metrics"):
        raise OSError(errno.EMFILE, "Too many open files")
    assert conditions.failing == {"metrics": "Too many open files"}
    with conditions.noted("metrics"):
        pass
    assert not conditions.failing


def test_only_faults_of_the_machine_are_noted() -> None:
    with pytest.raises(ValueError, match="ours"), Conditions().noted("metrics"):
        raise ValueError("ours")


@pytest.mark.parametrize(("error", "words"), [(RuntimeError("why"), "why"), (TimeoutError(), "TimeoutError")])
def test_every_failure_has_words(error: Exception, words: str) -> None:
    conditions = Conditions()
    conditions.failed("shipper", error)
    assert conditions.failing["shipper"] == words


def test_every_background_task_has_a_name_here() -> None:
    """One that has none would not be started again when it fails."""
    kept = re.findall(r'keep\("([a-z ]+)"', getsource(Worker))
    assert kept
    assert set(kept) == set(TASKS)
