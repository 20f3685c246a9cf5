"""A program that is missing: its tests are skipped on a developer's machine, and fail in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import needs

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest
from tests.support.programs import needs

@pytest.fixture
def program():
    return needs("no-such-program")

def test_with_a_fixture(program): pass
def test_by_itself(): needs("no-such-program")

@pytest.mark.skipif(True, reason="needs no-such-program, which is not installed")
def test_with_a_mark(): pass

@pytest.mark.skipif(True, reason="only on another system")
def test_for_another_system(): pass
"""


def summary(folder: Path, ci: str) -> str:
    """The last line of a run of `TESTS`, with GATEWAY_CI set like this."""
    path = folder / "test_needs.py"
    path.write_text(TESTS)
    plugins = ["-p", "tests.support.programs", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, f"--rootdir={folder}", "-c", os.devnull, str(path)]
    environ = os.environ | {"GATEWAY_CI": ci, "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[-1]


def test_a_developer_sees_skips(tmp_path: Path) -> None:
    assert summary(tmp_path, ci="").startswith("4 skipped")


def test_ci_fails_for_what_is_missing_and_for_nothing_else(tmp_path: Path) -> None:
    assert summary(tmp_path, ci="1").startswith("1 failed, 1 skipped, 2 errors")


def test_a_program_that_is_there_is_found() -> None:
    assert Path(needs("sh")).is_file()


def test_a_program_that_is_not_there_skips() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs no-such-program, which is not installed"):
        needs("no-such-program")
