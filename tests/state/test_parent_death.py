"""Processes tied to their parent: they end when it is killed, whether they were tied from outside or by themselves."""

import os
import subprocess
import sys

import pytest

from tests.support.processes import await_end

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")

OUTSIDE = """
import os, signal, subprocess
from gateway.state.parent_death import end_with_parent
print(subprocess.Popen(["sleep", "60"], preexec_fn=end_with_parent(os.getpid())).pid, flush=True)
signal.pause()
"""
ITSELF = """
import os, signal, subprocess, sys
tied = "import os, signal, gateway.state.parent_death as tie; tie.end_this_with_parent(os.getppid())"
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
    script = f"import gateway.state.parent_death as tie; tie.end_this_with_parent({os.getpid()} + 1); print('here')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
