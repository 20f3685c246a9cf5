import logging
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.state.conditions import Conditions
from gateway.telemetry.ledger import Ledger, is_live, parse, read, segments
from gateway.types import Row
from tests.support.rows import row


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [row(), row(outcome="timeout_gap", ttft=None, error="no data for 30 s\n\u2028"), row(cost=10**18)]
    ledger = Ledger(tmp_path / "ledger")
    for one in rows:
        ledger.append(one)
    assert list(read(tmp_path / "ledger")) == rows  # before close: each row is on disk when append returns


@given(error=st.text(), cost=st.integers(0, 2**63 - 1), at=st.floats(0, 2e9), ttft=st.none() | st.floats(0, 1e6))
def test_any_row_survives_its_line(error: str, cost: int, at: float, ttft: float | None) -> None:
    original = row(error=error, cost=cost, at=at, ttft=ttft)
    assert parse(msgspec.json.encode(original)) == original


def test_no_file_before_the_first_row(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    assert segments(tmp_path) == []


def test_segment_is_named_for_its_process(tmp_path: Path) -> None:
    Ledger(tmp_path).append(row())
    (segment,) = segments(tmp_path)
    start, pid, token = segment.stem.split("-")
    assert start.isdigit()
    assert int(pid) == os.getpid()
    assert len(token) == 6


def test_full_segment_gives_way_to_the_next(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, segment_bytes=2000)
    rows = [row() for _ in range(10)]
    for one in rows:
        ledger.append(one)
    assert len(segments(tmp_path)) > 1
    assert all(path.stat().st_size <= 2000 for path in segments(tmp_path))
    assert sorted(one.id for one in read(tmp_path)) == sorted(one.id for one in rows)


def test_a_segment_may_be_filled_to_its_last_byte(tmp_path: Path) -> None:
    one = row()
    line = len(msgspec.json.encode(one) + b"\n")
    ledger = Ledger(tmp_path, segment_bytes=2 * line)
    for _ in range(3):
        ledger.append(one)
    assert sorted(path.stat().st_size for path in segments(tmp_path)) == [line, 2 * line]


def test_rows_are_the_gateways_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "ledger"
    ledger = Ledger(folder)
    ledger.append(row())
    ledger.close()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *segments(folder))]
    assert modes == [0o700, 0o600]
    shutil.rmtree(folder.parent)
    ledger.append(row())  # created again
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, *segments(folder))] == modes


def test_a_start_in_a_name_has_a_fixed_width(tmp_path: Path) -> None:
    """Names sort by age."""
    Ledger(tmp_path).append(row())
    start = segments(tmp_path)[0].name.partition("-")[0]
    assert len(start) == 13
    assert abs(int(start) / 1000 - time.time()) < 3600


def test_disk_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, segment_bytes=1000, keep=3)  # a segment holds one row
    ids = []
    for number in range(10):
        ids.append(f"gen-{number}-1")
        ledger.append(row(id=ids[-1]))
        os.rename(*_renamed_in_order(ledger_path(tmp_path, ids[-1]), number))
    assert [one.id for one in read(tmp_path)] == ids[-4:]  # three closed and the one being written


def ledger_path(folder: Path, row_id: str) -> Path:
    return next(path for path in segments(folder) if row_id.encode() in path.read_bytes())


def _renamed_in_order(path: Path, number: int) -> tuple[Path, Path]:
    """Ten rows fit into one millisecond: give each segment a start of its own."""
    return path, path.with_name(f"{number:013d}-{path.name.split('-', 1)[1]}")


def test_a_living_segment_is_never_deleted(tmp_path: Path) -> None:
    slow, busy = Ledger(tmp_path), Ledger(tmp_path, segment_bytes=1, keep=1)
    kept = row()
    slow.append(kept)
    (segment,) = segments(tmp_path)
    os.rename(segment, segment.with_name(f"{0:013d}-1-old.jsonl"))  # the oldest by far
    for _ in range(5):
        busy.append(row())
    assert next(read(tmp_path)) == kept


def test_an_old_segment_may_be_deleted_by_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended_and_deleted(path: Path) -> bool:
        path.unlink()
        return False

    first, second = Ledger(tmp_path), Ledger(tmp_path, segment_bytes=1, keep=1)
    first.append(row())
    (segment,) = segments(tmp_path)
    os.rename(segment, segment.with_name(f"{0:013d}-1-old.jsonl"))
    monkeypatch.setattr("gateway.telemetry.ledger.is_live", ended_and_deleted)
    written = [row() for _ in range(3)]
    for one in written:
        second.append(one)
    assert written[-1] in read(tmp_path)


def test_liveness_ends_with_the_writer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(row())
    (segment,) = segments(tmp_path)
    assert is_live(segment)
    ledger.close()
    assert not is_live(segment)


@pytest.mark.parametrize("tail", [b'{"id": "gen-9-1", "exch', b'{"id": "\x80"}\n', b"\x00" * 64, b"{}\n", b"\n"])
def test_a_torn_line_is_skipped(tmp_path: Path, tail: bytes) -> None:
    ledger, whole = Ledger(tmp_path), row()
    ledger.append(whole)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(tail)
    assert list(read(tmp_path)) == [whole]


def test_an_unusable_folder_delays_rows_and_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []
    conditions = Conditions()
    ledger = Ledger(tmp_path / "ledger", lambda: told.append(1), conditions)
    (tmp_path / "ledger").rmdir()
    (tmp_path / "ledger").touch()
    rows = [row() for _ in range(3)]
    with caplog.at_level(logging.ERROR):
        ledger.append(rows[0])
        ledger.append(rows[1])
    assert (ledger.waits, ledger.errors, len(told), len(caplog.records)) == (True, 0, 0, 1)
    assert conditions.failing.keys() == {"ledger"}
    (tmp_path / "ledger").unlink()
    ledger.append(rows[2])  # behind those that wait
    ledger.check()  # the folder is made again
    assert list(read(tmp_path / "ledger")) == rows
    assert not ledger.waits
    assert not conditions.failing


@pytest.mark.parametrize("whole", [True, False], ids=["with its folder", "alone"])
def test_a_deleted_segment_is_restored_under_its_name(tmp_path: Path, whole: bool) -> None:
    counted: list[str] = []
    conditions = Conditions(counted.append)
    ledger = Ledger(tmp_path / "ledger", conditions=conditions)
    rows = [row() for _ in range(3)]
    ledger.append(rows[0])
    (segment,) = segments(tmp_path / "ledger")
    segment.unlink()
    if whole:
        (tmp_path / "ledger").rmdir()
    ledger.append(rows[1])  # before anything has noticed
    ledger.check()
    assert not conditions.failing  # it could be written again at once
    assert counted == ["ledger"]
    ledger.append(rows[2])
    assert list(read(tmp_path / "ledger")) == rows
    assert segments(tmp_path / "ledger") == [segment]
    assert is_live(segment)


def test_a_deleted_segment_is_restored_once_its_folder_can_be_made(tmp_path: Path) -> None:
    conditions = Conditions()
    ledger = Ledger(tmp_path / "ledger", conditions=conditions)
    rows = [row() for _ in range(2)]
    ledger.append(rows[0])
    segments(tmp_path / "ledger")[0].unlink()
    (tmp_path / "ledger").rmdir()
    (tmp_path / "ledger").touch()
    ledger.check()
    assert conditions.failing.keys() == {"ledger"}
    ledger.append(rows[1])
    assert conditions.failing.keys() == {"ledger"}
    (tmp_path / "ledger").unlink()
    ledger.check()
    assert not conditions.failing
    assert list(read(tmp_path / "ledger")) == rows


@pytest.mark.parametrize("rows_in_backup", [0, 1, 2])
def test_a_segment_replaces_its_copy_from_a_backup(tmp_path: Path, rows_in_backup: int) -> None:
    conditions = Conditions()
    ledger = Ledger(tmp_path / "ledger", conditions=conditions)
    rows = [row() for _ in range(4)]
    for one in rows[:2]:
        ledger.append(one)
    (segment,) = segments(tmp_path / "ledger")
    backup = b"".join(segment.read_bytes().splitlines(keepends=True)[:rows_in_backup])
    segment.unlink()
    ledger.append(rows[2])
    segment.write_bytes(backup)
    ledger.check()
    assert not conditions.failing
    ledger.append(rows[3])
    assert list(read(tmp_path / "ledger")) == rows
    assert [path.name for path in (tmp_path / "ledger").iterdir()] == [segment.name]
    assert is_live(segment)


def test_a_segment_returns_when_its_folder_was_moved_away_and_again_when_it_is_moved_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    rows = [row() for _ in range(3)]
    ledger.append(rows[0])
    (tmp_path / "ledger").rename(tmp_path / "away")
    ledger.append(rows[1])
    ledger.check()
    assert list(read(tmp_path / "ledger")) == rows[:2]
    ledger.append(rows[2])
    (segment,) = segments(tmp_path / "ledger")
    (tmp_path / "away" / segment.name).replace(segment)
    ledger.check()
    assert list(read(tmp_path / "ledger")) == rows


def test_a_segment_that_cannot_take_its_place_leaves_no_second_file(tmp_path: Path) -> None:
    conditions = Conditions()
    ledger = Ledger(tmp_path, conditions=conditions)
    kept = row()
    ledger.append(kept)
    (segment,) = segments(tmp_path)
    segment.unlink()
    segment.mkdir()
    ledger.check()
    assert conditions.failing.keys() == {"ledger"}
    assert [path.name for path in tmp_path.iterdir()] == [segment.name]
    segment.rmdir()
    ledger.check()
    assert not conditions.failing
    assert list(read(tmp_path)) == [kept]


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_a_restore_that_fails_leaves_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = Conditions()
    ledger, one = Ledger(tmp_path, conditions=conditions), row()
    ledger.append(one)
    segments(tmp_path)[0].unlink()
    before, write = open_files(), os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    ledger.check()
    monkeypatch.undo()
    assert conditions.failing.keys() == {"ledger"}
    assert (segments(tmp_path), open_files()) == ([], before)
    ledger.check()
    assert not conditions.failing
    assert (list(read(tmp_path)), open_files()) == ([one], before)


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(row())
    before = open_files()
    assert is_live(segments(tmp_path)[0])
    assert len(list(read(tmp_path))) == 1
    assert open_files() == before
    ledger.close()
    assert not is_live(segments(tmp_path)[0])
    assert open_files() == before - 1


def test_a_large_segment_is_restored_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.telemetry.ledger.CHUNK", 100)
    ledger = Ledger(tmp_path)
    rows = [row() for _ in range(5)]
    for one in rows:
        ledger.append(one)
    segments(tmp_path)[0].unlink()
    ledger.check()
    assert list(read(tmp_path)) == rows


def test_a_disk_that_works_again_is_found_without_a_row(tmp_path: Path) -> None:
    conditions = Conditions()
    ledger = Ledger(tmp_path / "ledger", conditions=conditions)
    (tmp_path / "ledger").rmdir()
    (tmp_path / "ledger").touch()
    waiting = row()
    ledger.append(waiting)
    ledger.check()
    assert conditions.failing.keys() == {"ledger"}
    (tmp_path / "ledger").unlink()
    ledger.check()
    assert not conditions.failing
    assert list(read(tmp_path / "ledger")) == [waiting]
    (segment,) = (tmp_path / "ledger").iterdir()
    size = segment.stat().st_size
    ledger.check()
    assert segment.stat().st_size == size, "a disk that works is not probed"


def test_what_is_no_segment_is_left_alone(tmp_path: Path) -> None:
    """A FIFO would hold up whoever opens it, for good."""
    os.mkfifo(tmp_path / f"{0:013d}-1-abc.jsonl")
    (tmp_path / "notes.jsonl").write_text("{}")
    (tmp_path / f"{1:013d}-1-abc.jsonl").mkdir()
    kept = row()
    Ledger(tmp_path, segment_bytes=1, keep=1).append(kept)
    assert list(read(tmp_path)) == [kept]
    assert len(list(tmp_path.iterdir())) == 4


def test_memory_for_rows_that_wait_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, lost = [row(), row(), row()], list[int]()
    monkeypatch.setattr("gateway.telemetry.ledger.MOST_WAITING", 2 * len(msgspec.json.encode(rows[0])) + 10)
    ledger = Ledger(tmp_path / "ledger", lambda: lost.append(1))
    (tmp_path / "ledger").rmdir()
    (tmp_path / "ledger").touch()
    for one in rows:
        ledger.append(one)
    assert (ledger.errors, len(lost)) == (1, 1)
    (tmp_path / "ledger").unlink()
    ledger.check()
    assert list(read(tmp_path / "ledger")) == rows[:2]


def test_rows_that_waited_until_the_end_are_counted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    (tmp_path / "ledger").rmdir()
    (tmp_path / "ledger").touch()
    ledger.append(row())
    ledger.append(row())
    ledger.check()
    ledger.close()
    assert (ledger.errors, ledger.waits) == (2, False)


def test_a_full_disk_loses_no_row(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk: the kernel writes half a row, then refuses."""
    script = f"""
import resource, signal
from pathlib import Path
from gateway.state.conditions import Conditions
from gateway.telemetry.ledger import Ledger
from tests.support.rows import row
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(Path({str(tmp_path)!r}))
ledger.append(row())
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
ledger.append(row())
ledger.append(row())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.append(row())
ledger.check()
print(ledger.errors)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert [one.exchange for one in read(tmp_path)] == ["gen-1", "gen-2", "gen-3", "gen-4"]


def test_rows_of_an_older_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "0-1-a.jsonl").write_bytes(
        b'{"id":"e-1","exchange":"e","at":1,"tenant":"t","app":"","model":"m","policy":"p","stream":true,'
        b'"endpoint":"","provider":"","attempt":0,"outcome":"unrouted","field_of_tomorrow":[1]}\n'
    )
    (only,) = read(tmp_path)
    assert isinstance(only, Row)
    assert (only.at, only.cache) == (1.0, "off")


def test_repr_says_where_and_how_it_is(tmp_path: Path) -> None:
    assert "closed, 0 errors" in repr(Ledger(tmp_path))
