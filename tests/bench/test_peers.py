"""Each peer can be installed and started, or says that it is absent."""

from pathlib import Path

import pytest

from bench.launch import PEERS, Site
from bench.mock import MODEL
from bench.peers import NAMES, PYTHON, program


def site(folder: Path, peers: Path) -> Site:
    return Site(folder, peers, 1, 2, 3, None, folder / "none", "sk-bench")


def installed(name: str, peers: Path) -> None:
    path = peers / name / "bin" / name
    path.parent.mkdir(parents=True)
    path.touch()


def test_every_peer_has_a_start() -> None:
    assert set(PEERS) == set(NAMES)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"nginx"}))
def test_an_absent_peer_has_no_start(name: str, tmp_path: Path) -> None:
    assert program(name, tmp_path) is None
    assert PEERS[name](site(tmp_path, tmp_path)) is None


@pytest.mark.parametrize("name", PYTHON)
def test_a_peer_is_pinned_and_comes_by_name(name: str) -> None:
    first, *_ = PYTHON[name].split()
    assert "==" in first
    assert "/" not in PYTHON[name]


def test_requests_to_ferrogw_name_a_model_that_it_knows(tmp_path: Path) -> None:
    installed("ferrogw", tmp_path)
    launch = PEERS["ferrogw"](site(tmp_path, tmp_path))
    assert launch is not None
    assert launch.model != MODEL
    assert launch.environ["MASTER_KEY"] == "sk-bench"


def test_rolter_checks_the_key(tmp_path: Path) -> None:
    installed("rolter", tmp_path)
    launch = PEERS["rolter"](site(tmp_path, tmp_path))
    assert launch is not None
    assert 'key = "sk-bench"' in Path(launch.command[-1]).read_text()
    assert launch.environ["RUST_LOG"] == "error"
