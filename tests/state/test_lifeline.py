"""Processes tied to their parent: they end when it is killed, whether they were tied from outside or by themselves."""

import os
import subprocess
import sys

import pytest

from tests.support.processes import await_end

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")

OUTSIDE = """
import os, signal, subprocess
from gateway.state.lifeline import tie
print(subprocess.Popen(["sleep", "60"], preexec_fn=tie(os.getpid())).pid, flush=True)
signal.pause()
"""
ITSELF = """
import os, signal, subprocess, sys
tied = "import os, signal; from gateway.state.lifeline import tie_self; tie_self(os.getppid())"
child = f"{tied}; print(flush=True); signal.pause()"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("parent", [OUTSIDE, ITSELF], ids=["outside", "itself"])
def test_a_tied_process_ends_when_its_parent_is_killed(parent: str) -> None:
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    await_end([child])


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    script = f"from gateway.state.lifeline import tie_self; tie_self({os.getpid()} + 1); print('still here')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
