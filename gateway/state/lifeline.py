"""A process that ends with the one that started it, even when that one is killed outright.

    parent ends, however ──Linux──> SIGTERM to the child

Linux counts the end of the starting *thread* as the parent's death, so children are started from the main thread.
Elsewhere nothing is tied: the child ends when its parent ends it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tie(parent: int) -> Callable[[], None] | None:
    """What a new process has to call first, so that it ends with process `parent`: a `preexec_fn`. None: no way."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: a forked process should do as little as possible

    def hold() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)

    return hold


def tie_self(parent: int) -> None:
    """The same for the process that runs already, and is a child of `parent`."""
    if hold := tie(parent):
        hold()
