"""The mock host as the harness holds it: a process of its own, steered and asked over HTTP."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import process
from bench.mock import CERTIFICATE

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class MockHost:
    """Where the host answers. `tls_port` is None without TLS; `certificate` is what a client must trust then."""

    running: subprocess.Popen[bytes]
    port: int
    tls_port: int | None
    certificate: Path

    def behave(self, **behaviour: Any) -> dict[str, Any]:
        """Changes how the host answers from the next request on (`mock.Behaviour`); its counters."""
        return self._ask("POST", json.dumps(behaviour))

    def counters(self) -> dict[str, Any]:
        return self._ask("GET", None)

    def _ask(self, method: str, body: str | None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, "/_bench", body)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()


@contextmanager
def mock_host(folder: Path, cpu: int, tls: bool) -> Iterator[MockHost]:
    """The mock host on this CPU, until the end."""
    command = [sys.executable, "-m", "bench.mock", *(["--tls", str(folder)] if tls else [])]
    with process.pinned(cpu):
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert running.stdout is not None
        ports = json.loads(running.stdout.readline() or b"{}")
        if not ports:
            raise RuntimeError("the mock host did not start: its own message is above")
        yield MockHost(running, ports["port"], ports["tls_port"], folder / CERTIFICATE)
    finally:
        process.stop(running)
        if running.stdout is not None:
            running.stdout.close()
