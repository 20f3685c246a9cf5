"""What a worker leaves of the attempts that it had under way."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.state.conditions import Conditions
from gateway.telemetry import sent_attempts
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.sent_attempts import ALLOCATED, SLOT, Numbers, SentAttempt, SentAttempts, Texts, left_behind
from tests.support.rows import row

AT = 1_763_764_210.0


def attempt(number: int = 1, **changes: Any) -> SentAttempt:
    fields: dict[str, Any] = {
        "exchange": f"gen-{int(AT)}-{number:020x}",
        "at": AT,
        "tenant": "team",
        "app": "Chat",
        "model": "deepseek/deepseek-v3.2",
        "policy": "balanced",
        "stream": True,
        "endpoint": "novita/fp8",
        "attempt": 1,
        "hedge": False,
        "streams": True,
        "prompt": 1_000,
        "hit": 0.25,
        "output": 200.0,
        "ttft": 1.0,
        "usd": 7,
        "seconds": 5.0,
        "key": "",
        "group": "",
        "user": "",
    }
    return SentAttempt(**(fields | changes))


class Worker:
    """A ledger and the file of its attempts. `die` is what the kernel does to a killed process."""

    def __init__(self, folder: Path) -> None:
        self.conditions = Conditions()
        self.ledger = Ledger(folder)
        self.sent = SentAttempts(folder, self.ledger, self.conditions)

    def begin(self, one: SentAttempt) -> int:
        return self.sent.begin(cast("Texts", one[:9]), cast("Numbers", one[9:]))

    def die(self) -> None:
        assert self.sent._fd is not None
        os.close(self.sent._fd)


def test_a_killed_worker_leaves_the_attempts_that_it_had_under_way(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    first, second = attempt(1), attempt(2, hedge=True, user="u")
    worker.sent.ended(worker.begin(attempt(3)))
    assert [worker.begin(one) for one in (first, second)] == [1, 2]
    worker.sent.tick(AT + 7)
    assert left_behind(tmp_path) == [], "it lives"
    worker.die()
    (found,) = left_behind(tmp_path)
    assert (found.attempts, found.last_sign) == ({first.id: first, second.id: second}, AT + 7)
    assert left_behind(tmp_path) == [], "another one books it"
    found.close("keep")
    (again,) = left_behind(tmp_path)
    again.close("delete")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gone", ["deleted", "moved", "its folder"])
def test_a_file_that_is_gone_is_made_again(tmp_path: Path, gone: str) -> None:
    folder = tmp_path / "ledger"
    worker = Worker(folder)
    worker.begin(attempt(1))
    (file,) = folder.glob("*.sent")
    if gone == "deleted":
        file.unlink()
    elif gone == "moved":
        file.rename(tmp_path / "elsewhere.sent")
    else:
        shutil.rmtree(folder)
    worker.sent.tick(AT + 1)
    worker.begin(attempt(2))
    assert left_behind(folder) == [], "it lives"
    worker.die()
    (found,) = left_behind(folder)
    assert set(found.attempts) == {attempt(1).id, attempt(2).id}
    found.close("delete")


def test_while_the_file_cannot_be_made_again_the_failure_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path)
    worker.begin(attempt(1))
    (file,) = tmp_path.glob("*.sent")
    file.unlink()

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(sent_attempts.os, "posix_fallocate", no_space)
        worker.sent.tick(AT + 1)
        worker.begin(attempt(2))
        assert "attempts" in worker.conditions.failing
    worker.sent.tick(AT + 2)
    assert "attempts" not in worker.conditions.failing
    worker.die()
    (found,) = left_behind(tmp_path)
    assert set(found.attempts) == {attempt(1).id, attempt(2).id}
    found.close("delete")


def test_a_slot_is_cleared_by_the_next_tick(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    slots = [worker.begin(attempt(number)) for number in range(3)]
    for slot in slots:
        worker.sent.ended(slot)
    worker.begin(attempt(9))
    worker.sent.tick(AT)
    worker.die()
    assert [list(found.attempts) for found in left_behind(tmp_path)] == [[attempt(9).id]]


def test_slots_are_used_again(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    for number in range(200):
        worker.sent.ended(worker.begin(attempt(number)))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == (1 + ALLOCATED) * SLOT


def test_an_attempt_whose_row_waits_for_the_disk_keeps_its_slot(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "ledger")
    slot = worker.begin(attempt(1))
    (tmp_path / "ledger").rename(tmp_path / "away")
    (tmp_path / "ledger").touch()
    worker.ledger.append(row())
    worker.sent.ended(slot)
    worker.sent.tick(AT)
    assert worker.begin(attempt(2)) == 2
    (tmp_path / "ledger").unlink()
    (tmp_path / "away").rename(tmp_path / "ledger")
    worker.ledger.check()
    worker.sent.tick(AT)
    assert worker.begin(attempt(3)) == 1


def test_a_worker_that_stops_leaves_nothing(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.sent.ended(worker.begin(attempt()))
    worker.sent.close()
    assert list(tmp_path.iterdir()) == []


def test_a_long_app_is_shortened_and_other_long_names_are_not_recorded(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    assert worker.begin(attempt(1, app="x" * 5_000)) == 1
    assert worker.begin(attempt(2, tenant="x" * 5_000)) == 0
    assert worker.conditions.failing.keys() == {"attempts"}
    worker.die()
    (found,) = left_behind(tmp_path)
    assert [one.app for one in found.attempts.values()] == ["x" * 200]


def test_a_full_disk_is_said_and_the_attempt_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    worker = Worker(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(sent_attempts.os, "posix_fallocate", full)
        assert worker.begin(attempt()) == 0
        assert worker.conditions.failing.keys() == {"attempts"}
        assert list(tmp_path.iterdir()) == []
    assert worker.begin(attempt()) == 0, "tried once a second"
    worker.sent.tick(AT)
    assert not worker.conditions.failing, "without another attempt"
    assert worker.begin(attempt()) == 1


def test_what_was_torn_or_is_no_such_file_is_skipped(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.begin(attempt())
    worker.die()
    (file,) = tmp_path.iterdir()
    with file.open("r+b") as opened:
        opened.seek(SLOT + 50)
        opened.write(b"\0" * SLOT)
    (tmp_path / "1-1-a.sent").touch()
    (tmp_path / "1-2-b.sent").write_bytes(os.urandom(5 * SLOT))
    os.mkfifo(tmp_path / "2-1-a.sent")
    assert [found.attempts for found in left_behind(tmp_path)] == [{}, {}, {}]
