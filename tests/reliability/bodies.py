"""`bodies`: forty clients without a key send 16 MB each at once. The key is checked before a body is read.

40 x (head, then 16 MB) ──> gateway with keys ──> 401 at once; its memory stays as it was
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import process
from tests.reliability.memory import watched
from tests.reliability.page import Line
from tests.reliability.site import own_store, replica
from tests.support.gateway import MODEL

CLIENTS, SIZE, PIECE = 40, 16 << 20, 256 << 10
LIMIT = 10e6  # bytes above idle
WITHIN = 60.0  # seconds for one client
HEAD = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
KEYS = [{"tenant": "team", "key": "sk-" + "a" * 32}]


async def run(folder: Path, clients: int = CLIENTS, size: int = SIZE) -> dict[str, Any]:
    endpoint = {"id": "a/fp8", "provider": "vllm", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
    models = {"deepseek/deepseek-v3.2": {"endpoints": [endpoint | {"price": {"input": 1, "output": 1}}], **MODEL}}
    with own_store(folder) as store:
        async with replica(folder, models, 1, store, keys=KEYS) as running:
            port = int(running.url.rpartition(":")[2])
            assert running.process is not None
            pids = [running.process.pid]
            await _all(port, 2, 1000)  # so that all that is loaded lazily is
            idle = process.rss(pids)
            async with watched(lambda: process.rss(pids)) as peak:
                answers = await _all(port, clients, size)
    statuses = Counter(status for status, _ in answers)
    seconds = max(took for _, took in answers)
    above = round((peak.most - idle) / 1e6, 2)
    return {"clients": clients, "statuses": dict(statuses), "longest_s": round(seconds, 3), "above_idle_mb": above}


async def _all(port: int, clients: int, size: int) -> Sequence[tuple[str, float]]:
    return await asyncio.gather(*(_send(port, size, chunked=number % 2 == 1) for number in range(clients)))


async def _send(port: int, size: int, chunked: bool) -> tuple[str, float]:
    """One client that sends all of its body, however it is answered: the status, and the seconds until it came."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
    writer.write(f"{HEAD}{framing}\r\n\r\n".encode())
    sending = asyncio.create_task(_body(writer, size, chunked))
    try:
        async with asyncio.timeout(WITHIN):
            line = await reader.readline()
            took = time.monotonic() - began
            await sending
    except (TimeoutError, OSError) as error:
        return type(error).__name__, time.monotonic() - began
    finally:
        sending.cancel()
        writer.close()
    return line.decode(errors="replace").split(" ")[1] if line.startswith(b"HTTP/") else "none", took


async def _body(writer: asyncio.StreamWriter, size: int, chunked: bool) -> None:
    piece = b"x" * PIECE
    framed = b"%x\r\n%b\r\n" % (PIECE, piece) if chunked else piece
    with suppress(OSError):  # the gateway has closed the connection, as it may
        for _ in range(max(1, size // PIECE)):
            writer.write(framed if size >= PIECE else piece[:size])
            await writer.drain()


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    return {"command": "make bodies", **await run(folder)}


def lines(record: dict[str, Any]) -> list[Line]:
    return [
        Line(
            f"{record['clients']} bodies of 16 MB without a key: <= 10 MB above idle",
            f"{record['above_idle_mb']:.1f} MB; statuses {record['statuses']}, "
            f"the last after {record['longest_s']:.2f} s",
            record["above_idle_mb"] <= LIMIT / 1e6,
        )
    ]
