"""Makes a child process end with its parent, even when the parent is killed.

    parent ends in any way ──Linux──> SIGTERM to the child

To Linux, the end of the starting *thread* is the death of the parent, so children are started from the main thread. On
other systems nothing is set: the child ends only when its parent ends it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int) -> Callable[[], None] | None:
    """Returns a `preexec_fn` with which a new process ends when process `parent` does; None where that is not
    supported."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: a forked process should do as little as possible

    def set_signal() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the call above
            os._exit(1)

    return set_signal


def end_this_with_parent(parent: int) -> None:
    """The same for the calling process, a child of `parent`."""
    if set_signal := end_with_parent(parent):
        set_signal()
