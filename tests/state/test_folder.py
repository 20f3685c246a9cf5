import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.state.folder import LONGEST_SOCKET_PATH, StateFolder


@pytest.fixture
def long_path(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 120)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path / "state")
    folder.open()
    yield folder
    folder.close()


def test_it_makes_a_folder_for_this_user_alone(folder: StateFolder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert all(path.is_dir() for path in (folder.ledger, folder.metrics, folder.store))


def test_an_existing_folder_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = StateFolder(tmp_path)
    folder.open()
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_the_default_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert StateFolder().path == tmp_path / "llm-routing-gateway"


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_without_a_usable_xdg_the_default_is_below_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert StateFolder().path == tmp_path / ".local/state/llm-routing-gateway"


def test_a_second_gateway_is_refused_in_one_line_that_says_who_and_what_to_do(folder: StateFolder) -> None:
    with pytest.raises(ConfigError) as refusal:
        StateFolder(folder.path).open()
    (line,) = refusal.value.problems
    assert str(folder.path) in line
    assert f"process {os.getpid()}" in line
    assert "stop it, or give each its own" in line


def test_the_lock_is_free_after_close(tmp_path: Path) -> None:
    for _ in range(2):
        folder = StateFolder(tmp_path)
        folder.open()
        folder.close()


def test_the_lock_is_free_after_its_process_was_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, sys; from gateway.state.folder import StateFolder\n"
        "folder = StateFolder(pathlib.Path(sys.argv[1])); folder.open(); print('open', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"open\n"
        with pytest.raises(ConfigError, match=f"process {owner.pid}"):
            StateFolder(tmp_path).open()
        owner.kill()
        owner.wait()
    folder = StateFolder(tmp_path)
    folder.open()
    folder.close()


def test_a_path_that_cannot_be_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be the state folder \(.*\): name another one"):
        StateFolder(tmp_path / "file").open()


def test_a_long_path_has_its_socket_in_a_short_folder_that_close_removes(long_path: Path) -> None:
    folder = StateFolder(long_path)
    folder.open()
    assert len(os.fsencode(folder.socket)) <= LONGEST_SOCKET_PATH
    assert folder.socket.parent.stat().st_mode & 0o777 == 0o700
    assert folder.socket == StateFolder(long_path).socket, "the next run looks for it in the same place"
    folder.close()
    assert not folder.socket.parent.exists()


def test_a_short_folder_that_others_may_enter_is_refused(long_path: Path) -> None:
    folder = StateFolder(long_path)
    folder.socket.parent.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="mode 700: remove it"):
        folder.open()
    folder.socket.parent.rmdir()


def test_no_short_folder_to_be_had_is_a_clear_error(long_path: Path) -> None:
    long_path.mkdir()
    script = "import pathlib, sys; from gateway.state.folder import StateFolder; StateFolder(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(long_path)]
    result = subprocess.run(command, env=os.environ | {"TMPDIR": str(long_path)}, stderr=subprocess.PIPE, text=True)
    assert "choose a shorter state folder" in result.stderr


def test_repr_says_whether_it_is_open(folder: StateFolder) -> None:
    assert repr(folder) == f"StateFolder({str(folder.path)!r}, open)"


@pytest.mark.parametrize("what", ["lock", "."], ids=["the lock", "the folder"])
def test_what_was_deleted_is_made_again_and_no_other_gateway_takes_it(
    folder: StateFolder, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder.tend()
    assert not caplog.records
    if what == "lock":
        (folder.path / "lock").unlink()
    else:
        shutil.rmtree(folder.path)
    folder.tend()
    folder.tend()
    assert len(caplog.records) == 1
    assert all(path.is_dir() for path in (folder.ledger, folder.metrics, folder.store))
    with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
        StateFolder(folder.path).open()


def test_a_folder_that_another_gateway_took_is_reported_once(
    folder: StateFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.path / "lock").unlink()
    other = StateFolder(folder.path)
    other.open()
    folder.tend()
    folder.tend()
    (record,) = caplog.records
    assert "another gateway" in record.getMessage()
    other.close()
    folder.tend()
    assert "made again" in caplog.text


def test_a_full_disk_is_no_reason_not_to_lock(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = StateFolder(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        folder.open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "lock").read_text() == ""
    with pytest.raises(ConfigError, match="another gateway \\(process unknown\\)"):
        StateFolder(tmp_path).open()
    folder.close()


def test_a_fifo_for_a_lock_is_reported_and_holds_up_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(ConfigError, match="is not a regular file"):
        StateFolder(tmp_path).open()
