"""The C library's memory allocator in a process that serves.

    an arena for each thread  ──> pages that are freed there serve no other thread: 10 to 20 MB a worker
    one arena for all threads ──> they do; Python's lock lets one thread allocate at a time, so none waits

glibc does the first by default. Other C libraries have no such arenas, and are left as they are.
"""

import ctypes
from contextlib import suppress

M_ARENA_MAX = -8  # malloc.h of glibc


def use_one_arena() -> None:
    """Threads that this process starts from now on allocate where its main thread does."""
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
