"""What is counted is a real request, from the client's bytes to the client's bytes."""

import subprocess
import sys

import pytest

from bench.instructions import CASES, reads
from bench.whole import BASE, COUNTED, RUNS


@pytest.mark.parametrize("case", CASES)
def test_each_case_runs_to_its_end(case: str) -> None:
    command = [sys.executable, "-m", "bench.instructions", "--child", case, "3", "25"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_a_host_sends_is_the_same_however_it_is_divided() -> None:
    whole = {b"".join(reads(case, 25)).count(b"data: {") for case in ("paced", "ten", "burst")}
    assert whole == {27}
    assert len(reads("ten", 25)) < len(reads("paced", 25))


def test_a_run_of_the_whole_process_has_more_of_one_thing_only() -> None:
    assert set(RUNS) <= set(CASES)
    for run, units in RUNS.values():
        more = [getattr(run, name) - getattr(BASE, name) for name in ("requests", "relayed", "rewritten")]
        assert sorted(more)[:2] == [0, 0]
        assert units % max(more) == 0


def test_what_valgrind_says_is_read() -> None:
    found = COUNTED.search("==7== \n==7== I   refs:      4,038,339,753\n")
    assert found is not None
    assert found[1] == "4,038,339,753"
