"""Opens regular files only: a FIFO or a device, put there by mistake, would block. Sees whether a file has changed."""

import errno
import os
import stat
from pathlib import Path

Stamp = tuple[int, int, int, int, int] | None


def opened(path: Path, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A descriptor of a regular file. Raises OSError, also for anything but a regular file; never waits for a FIFO's
    peer."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not a regular file", str(path))


def content(path: Path) -> bytes:
    """The content of a regular file. Raises OSError."""
    with os.fdopen(opened(path), "rb") as file:
        return file.read()


def is_in_place(path: Path, descriptor: int) -> bool:
    """Whether the path still names the file that is open: it may have been deleted, moved away or replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def stamp(path: Path) -> Stamp:
    """A value that changes when the file is replaced or its content changes, even with the same time and size. Links
    are followed. None without a file. Raises OSError."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_dev, facts.st_ino, facts.st_ctime_ns, facts.st_mtime_ns, facts.st_size
