"""How long a host works on for a client that has left: a stream is closed after its first token, and the host says when
it saw that. Both read the system's monotonic clock.
"""

import socket
import statistics
import time
from typing import Any

from bench.host import MockHost
from bench.load import Call
from bench.mock import TOKEN

SEEN_WITHIN = 2.0  # seconds after which the host is taken to work on to the end
PACE = {"chunks": 1000, "ttft": 0.02, "interval": 0.02}


def measure_cancel(call: Call, host: MockHost, tries: int) -> dict[str, Any]:
    """Closes `tries` streams, one after another. `cancel_s` is the median; `unseen` those the host never saw closed."""
    host.behave(**PACE)
    delays = [_closed_stream(call, host) for _ in range(tries)]
    seen = [delay for delay in delays if delay is not None]
    record: dict[str, Any] = {"ok": len(seen), "errors": 0, "unseen": tries - len(seen)}
    if seen:
        record |= {"cancel_s": statistics.median(seen), "cancel_max_s": max(seen)}
    return record


def _closed_stream(call: Call, host: MockHost) -> float | None:
    """Seconds from the client's close to the host's; None when the host saw none."""
    aborted = host.counters()["aborted"]
    before, after = call.payload()
    with socket.create_connection(("127.0.0.1", call.port), timeout=10) as connection:
        connection.sendall(b"%b%016x%b" % (before, time.monotonic_ns(), after))
        heard = b""
        while TOKEN not in heard:
            data = connection.recv(65536)
            if not data:
                return None
            heard += data
    closed = time.monotonic()
    while time.monotonic() < closed + SEEN_WITHIN:
        counters = host.counters()
        if counters["aborted"] > aborted:
            return max(0.0, float(counters["aborted_at"]) - closed)
        time.sleep(0.005)
    return None
