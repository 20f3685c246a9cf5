import os
from pathlib import Path

import pytest

from gateway.files import content, opened, stamp


def test_a_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert content(tmp_path / "file") == b"content"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR], ids=["read", "write", "both"])
def test_a_fifo_is_refused_and_waits_for_no_peer(tmp_path: Path, flags: int) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"is not a regular file|No such device"):
        opened(tmp_path / "fifo", flags)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/"])
def test_a_device_or_a_folder_is_refused_and_closed(path: str) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="is not a regular file"):
        opened(Path(path))
    assert os.listdir("/proc/self/fd") == before


def test_a_stamp_differs_where_a_file_was_replaced(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("one")
    other.write_text("two")
    before, facts = stamp(path), path.stat()
    assert stamp(path) == before is not None
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(path)
    assert stamp(path) != before, "with the same time and size"
    assert stamp(tmp_path / "none") is None
    assert stamp(path / "below") is None
