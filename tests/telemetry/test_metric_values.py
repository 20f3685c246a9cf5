"""Values of metrics, on disks that fail."""

import errno
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.metric_values import PAGE, Image, Values, _entries
from gateway.telemetry.metrics import Metrics, prepare_folder
from tests.support.rows import row
from tests.telemetry.test_metrics import MODEL, NOVITA, start_worker, value


@given(st.dictionaries(st.binary(max_size=200), st.floats(allow_nan=False), max_size=60))
def test_an_image_holds_what_it_was_given(given: dict[bytes, float]) -> None:
    image = Image(Path("unused"))
    places = {key: image.add(key) for key in given}
    for key, number in given.items():
        image.write(places[key], number)
    assert dict(image.entries()) == given


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: struct.pack("<Q", 2**63) + tail))
def test_no_content_of_a_file_breaks_a_reader(data: bytes) -> None:
    list(_entries(data))


def shown(path: Path) -> dict[bytes, float]:
    return dict(_entries(path.read_bytes()))


def test_a_file_shows_what_was_published(tmp_path: Path) -> None:
    image = Image(tmp_path / "counter_1.db")
    place = image.add(b"first")
    image.publish()
    image.write(place, 1.5)
    keys = [b"%d" % number * 50 for number in range(200)]  # several pages
    for key in keys:
        image.write(image.add(key), 7.0)
    assert shown(image.path) == {b"first": 0.0}
    before = len(os.listdir("/dev/fd"))
    image.publish()
    assert len(os.listdir("/dev/fd")) == before
    assert shown(image.path) == {b"first": 1.5} | dict.fromkeys(keys, 7.0)


def test_only_pages_that_changed_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page with the used length comes last: a reader never sees an entry that is not written."""
    written: list[int] = []
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: (written.append(at // PAGE), write(fd, data, at))[1])

    def pages() -> list[int]:
        image.publish()
        found, written[:] = written[:], []
        return found

    image = Image(tmp_path / "counter_1.db")
    places = [image.add(bytes(1000)) for _ in range(20)]
    assert pages() == [4, 3, 2, 1, 0]
    assert pages() == []
    image.write(places[10], 1.0)
    assert pages() == [places[10] // PAGE]
    os.truncate(image.path, 5)
    assert pages() == [4, 3, 2, 1, 0]


def test_a_larger_file_of_an_earlier_process_with_the_same_number_is_replaced(tmp_path: Path) -> None:
    before, after = Image(tmp_path / "counter_1.db"), Image(tmp_path / "counter_1.db")
    for number in range(50):
        before.add(b"%d" % number * 200)
    before.publish()
    keys = [b"%d" % number * 300 for number in range(20, 30)]
    for key in keys:
        after.write(after.add(key), 7.0)
    after.publish()
    assert after.path.stat().st_size > 2 * PAGE
    assert shown(after.path) == dict.fromkeys(keys, 7.0)


@pytest.mark.parametrize("fault", ["removed", "cut short", "folder removed"])
def test_a_file_that_was_damaged_is_made_again(tmp_path: Path, fault: str) -> None:
    values = Values(tmp_path / "metrics")
    one = values._value("counter", "family", "name", (), (), "help")
    one.inc(3.0)
    values.publish()
    (path,) = (tmp_path / "metrics").iterdir()
    whole = shown(path)
    if fault == "cut short":
        os.truncate(path, 5)
    else:
        path.unlink()
    if fault == "folder removed":
        path.parent.rmdir()
    values.publish()
    assert shown(path) == whole


def test_a_full_disk_shows_no_reader_half_a_value_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image(tmp_path / "counter_1.db")
    image.write(image.add(b"first"), 1.0)
    image.publish()
    keys = [b"%d" % number * 50 for number in range(200)]
    for key in keys:
        image.write(image.add(key), 7.0)
    room, write = [PAGE + 100], os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        fits = min(len(data), room[0])
        room[0] -= fits
        if not fits:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:fits], at)

    monkeypatch.setattr(os, "pwrite", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            image.publish()
        assert shown(image.path) == {b"first": 1.0}
    room[0] = 10**9
    image.publish()
    assert len(shown(image.path)) == 201


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Metrics]:
    """The metrics of this process, beside those of another worker with 700 attempts."""
    prepare_folder(tmp_path)
    with start_worker(tmp_path, 700, 0) as worker:
        yield Metrics(tmp_path)
        assert worker.stdin is not None
        worker.stdin.close()


@pytest.mark.parametrize("strange", ["fifo", "folder", "dangling link"])
def test_another_workers_file_that_cannot_be_read_is_left_out_and_reported(
    two: Metrics, tmp_path: Path, strange: str
) -> None:
    two.record(row())
    two.flush()
    assert value(two.exposition(), "gateway_attempts_total", **NOVITA, outcome="ok") == 701
    path = next(tmp_path.glob("counter_*.db"))
    path.unlink()
    {"fifo": os.mkfifo, "folder": os.mkdir, "dangling link": lambda path: os.symlink("/nowhere", path)}[strange](path)
    text = two.exposition()
    assert value(text, "gateway_attempts_total", **NOVITA, outcome="ok") == 1
    assert value(text, "gen_ai_server_time_to_first_token_seconds_count", **MODEL) == 701  # from its other file
    if strange != "dangling link":  # as if it had never been there
        with pytest.raises(OSError, match="not a regular file"):
            two.publish()


def test_used_up_descriptors_cost_other_workers_figures_and_no_more(two: Metrics) -> None:
    two.record(row())
    two.flush()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        text = two.exposition()
        with pytest.raises(OSError, match="Too many open files"):
            two.publish()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert value(text, "gateway_attempts_total", **NOVITA, outcome="ok") == 1
    two.publish()  # looks again, without a scrape
    assert value(two.exposition(), "gateway_attempts_total", **NOVITA, outcome="ok") == 701


TINY = """
import sys
from pathlib import Path
from gateway.telemetry.ledger import Ledger, read
from gateway.telemetry.metrics import Metrics
from tests.support.rows import row
from tests.telemetry.test_metrics import value

folder = Path(sys.argv[1])
fill = folder / "fill"
metrics = Metrics(folder / "metrics")
ledger = Ledger(folder / "ledger", metrics.ledger_error)
metrics.record(row())
metrics.flush()
metrics.publish()
with fill.open("wb", buffering=0) as file:
    try:
        while file.write(bytes(512)):
            pass
    except OSError:
        pass
for number in range(60):
    metrics.record(row(endpoint=f"new/{number}"))
    ledger.append(row())
metrics.flush()
try:
    metrics.publish()
    raise SystemExit("the disk was not full")
except OSError as error:
    print(error.strerror)
assert b"new/59" in metrics.exposition()
fill.unlink()
metrics.publish()
assert ledger.waits
ledger.check()
ledger.append(row())
assert len(list(read(folder / "ledger"))) == 61, "no row is lost"
assert ledger.errors == 0 and not ledger.waits
assert value(metrics.exposition(), "gateway_ledger_errors_total") == 0
print("recovered")
"""


def test_a_full_disk_kills_no_worker(tmp_path: Path) -> None:
    """A real one, of 4 MB, where this user may mount it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        done = subprocess.run([sys.executable, "-c", TINY, str(disk)], capture_output=True, text=True)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode != -signal.SIGBUS
    assert done.stdout.splitlines() == ["No space left on device", "recovered"], done.stderr
