"""The state folder: what one machine keeps between runs, owned by one gateway at a time.

    FOLDER/            mode 700
      lock             locked with flock while the supervisor's process lives
      ledger/          append-only segments of attempts
      metrics/         the workers' shared counters
      prices.yaml      price changes, unless the setting `prices.file` names another file
      store/           the embedded store's data
      store.sock       its socket; if that path is too long, it is in a short folder of the system's temporary folder

Workers only read the paths; the supervisor alone calls `open`, `tend` and `close`.
"""

import fcntl
import hashlib
import logging
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from gateway.errors import ConfigError
from gateway.files import is_in_place, opened

_log = logging.getLogger("gateway")

LONGEST_PID = 20  # digits
LONGEST_SOCKET_PATH = 99  # bytes; the kernel's limit is 103 (macOS) or 107 (Linux)


def default_folder() -> Path:
    """`$XDG_STATE_HOME/llm-routing-gateway`, or the same under `~/.local/state` when that is unset or relative."""
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".local" / "state") / "llm-routing-gateway"


class StateFolder:
    """Paths below the state folder (default: `default_folder()`), and its lock."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or default_folder()).expanduser().absolute()
        self.ledger = self.path / "ledger"
        self.metrics = self.path / "metrics"
        self.store = self.path / "store"
        self.socket = self._socket()
        self._lock: int | None = None
        self._last_error = ""  # the message of the last failed `tend`

    def __repr__(self) -> str:
        return f"StateFolder({str(self.path)!r}, {'closed' if self._lock is None else 'open'})"

    def open(self) -> None:
        """Creates the folders and takes the lock. ConfigError when they cannot be created, or another gateway holds the
        lock."""
        try:
            self._make()
            self._lock = self._locked()
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be the state folder ({error.strerror}: {error.filename}): name another one"
            ) from None

    def tend(self) -> None:
        """Creates deleted folders again, so that no other gateway takes the folder. Call it every second or so."""
        if self._lock is None or self._holds(self._lock):
            return
        try:
            self._make()
            lock = self._locked()
        except (OSError, ConfigError) as error:
            if str(error) != self._last_error:
                _log.error("the state folder was deleted, and cannot be made again: %s", error)
            self._last_error = str(error)
            return
        os.close(self._lock)
        self._lock, self._last_error = lock, ""
        _log.warning("the state folder or its lock was deleted: made again")

    def close(self) -> None:
        """Releases the folder. Its content stays."""
        if self._lock is None:
            return
        if self.socket.parent != self.path:
            with suppress(OSError):  # it was deleted
                self.socket.unlink(missing_ok=True)
                self.socket.parent.rmdir()
        os.close(self._lock)
        self._lock = None

    def _make(self) -> None:
        for folder in (self.path, self.ledger, self.metrics, self.store):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        if self.socket.parent != self.path:
            self._make_socket_folder()

    def _holds(self, lock: int) -> bool:
        """Whether our lock is still on the file that another gateway would open."""
        return is_in_place(self.path / "lock", lock)

    def _locked(self) -> int:
        # The file is never removed: a process that opened a removed file would hold a lock that no other process sees.
        lock = opened(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, LONGEST_PID, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise ConfigError(
                f"{self.path}: another gateway (process {owner}) uses this state folder: stop it, or give each its own"
            ) from None
        with suppress(OSError):  # a full disk: the lock holds without the process id in it
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock

    def _socket(self) -> Path:
        usual = self.path / "store.sock"
        if len(os.fsencode(usual)) <= LONGEST_SOCKET_PATH:
            return usual
        # The name is derived from the folder's, so that the next run finds what a killed one left.
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        short = Path(tempfile.gettempdir()) / f"gateway-{os.getuid()}-{name}" / "store.sock"
        if len(os.fsencode(short)) > LONGEST_SOCKET_PATH:
            raise ConfigError(f"{self.path}: too long for a socket, and so is {short}: choose a shorter state folder")
        return short

    def _make_socket_folder(self) -> None:
        # The temporary folder is world-writable: a folder that is not ours alone may be an attack.
        folder = self.socket.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
            raise ConfigError(f"{folder}: must be a folder of this user with mode 700: remove it")
