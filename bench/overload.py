"""More load than the hosts carry, and bodies without a key: `python -m bench.overload`.

    overload   3 times what two hosts carry (`limits.concurrency`), prompts of 64 KB; one key floods, another one sends
               a few requests: memory, how soon the rest is shed, how long accepted requests take, who is shed, and
               how soon `/health/live` and `/metrics` answer
    bodies     40 bodies of 16 MB at once without a key: memory

Prints a table of figures and limits; 1 if a limit is missed. Real processes on 127.0.0.1, and about a minute.
"""

import argparse
import asyncio
import http.client
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import Any

import uvloop

from bench import process
from bench.host import ROOT, mock_host
from bench.load import Call, quantile
from bench.measure import free_ports
from bench.subjects import configuration

CONCURRENCY = 100  # requests that each of two hosts carries at once, unless the command line says otherwise
SECONDS = 2.0  # that an answer takes
TIMES = 3.0  # the load, as a multiple of what the hosts carry
PROMPT = 64 * 1024  # bytes
FEW = 2.0  # requests per second of the key that does not flood
BODIES, BODY = 40, 16_000_000  # bytes
READY_WITHIN = 60.0
MB = 1_000_000
CHUNKS, TTFT = 15, 0.5


@dataclass(slots=True)
class Seen:
    """Seconds of requests by status; 0 stands for a connection that broke."""

    by_status: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        self.by_status.setdefault(status, []).append(seconds)

    def of(self, status: int) -> list[float]:
        return self.by_status.get(status, [])

    def others(self, *statuses: int) -> int:
        return sum(len(times) for status, times in self.by_status.items() if status not in statuses)


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    limit: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


class Client:
    """Sends one request on each idle connection, or on a new one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, request: bytes, seen: Seen) -> None:
        began = perf_counter()
        status = 0
        with suppress(OSError, EOFError, asyncio.LimitOverrunError):
            reader, writer = self._idle.pop() if self._idle else await self._connected()
            writer.write(request)
            status = await _status(reader)
            self._idle.append((reader, writer))
        seen.add(status, perf_counter() - began)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """Reads one response to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        await reader.readuntil(b"\r\n0\r\n\r\n")
    else:
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return int(head.split(b" ", 2)[1])


class Gateway:
    """The gateway as a process, and its memory while something is done to it."""

    def __init__(self, port: int, pid: int, keys: tuple[str, str]) -> None:
        self.port = port
        self.keys = keys
        self._pid = pid

    def request(self, key: str) -> bytes:
        call = Call(self.port, {"authorization": f"Bearer {key}"}, PROMPT, stream=True)
        before, after = call.payload()
        return before + secrets.token_hex(8).encode() + after

    def memory(self) -> int:
        """Bytes of the gateway's process, without its store."""
        return process.rss([self._pid])

    async def peak(self, seconds: Callable[[], bool]) -> int:
        """The most bytes until that is false."""
        most = self.memory()
        while seconds():
            await asyncio.sleep(0.05)
            most = max(most, self.memory())
        return most

    def get(self, path: str) -> float:
        """Seconds until the answer; infinite unless it is 200."""
        began = perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            return perf_counter() - began if response.status == 200 else float("inf")
        except OSError:
            return float("inf")
        finally:
            connection.close()


@contextmanager
def _gateway(folder: Path, host_port: int, cpu: int, concurrency: int) -> Iterator[Gateway]:
    port, _ = free_ports()
    keys = secrets.token_hex(16), secrets.token_hex(16)
    document = configuration(f"http://127.0.0.1:{host_port}/v1", endpoints=2)
    for model in document["models"].values():
        for endpoint in model["endpoints"]:
            endpoint["limits"] = {"concurrency": concurrency}
    config = folder / "gateway.yaml"
    config.write_text(json.dumps(document))
    options = ["--config", str(config), "--state", str(folder / "state"), "--port", str(port), "--workers", "1"]
    environ = {"GATEWAY_API_KEYS": f"flood:{keys[0]},few:{keys[1]}", "GATEWAY_REDIS_URL": "", "GATEWAY_STATE": ""}
    log = folder / "gateway.log"
    running = process.start([sys.executable, "-m", "gateway", "serve", *options], environ, log, cpu, ROOT)
    try:
        gateway = Gateway(port, running.pid, keys)
        until = monotonic() + READY_WITHIN
        while gateway.get("/health/ready") == float("inf"):
            if monotonic() > until or running.poll() is not None:
                raise RuntimeError(f"the gateway did not start: {log.read_text()[-2000:]}")
            sleep(0.1)
        yield gateway
    finally:
        process.stop(running)


async def _arrive(client: Client, make: Callable[[], bytes], rate: float, seconds: float, seen: Seen) -> None:
    """Requests at even distances, whether or not earlier ones are answered."""
    began, made, open_ones = perf_counter(), 0, set()
    while (passed := perf_counter() - began) < seconds:
        while made < passed * rate:
            made += 1
            task = asyncio.ensure_future(client.send(make(), seen))
            open_ones.add(task)
            task.add_done_callback(open_ones.discard)
        await asyncio.sleep(0.002)
    if open_ones:
        await asyncio.wait(open_ones)


async def overload(gateway: Gateway, seconds: float, concurrency: int) -> list[Figure]:
    client = Client(gateway.port)
    flood, few = gateway.request(gateway.keys[0]), gateway.request(gateway.keys[1])
    unloaded, flooded, rest = Seen(), Seen(), Seen()
    for _ in range(3):  # the first ones teach the gateway what its hosts take
        unloaded = Seen()
        await asyncio.gather(*(client.send(flood, unloaded) for _ in range(10)))
    rate = TIMES * 2 * concurrency / SECONDS
    looks: list[float] = []

    async def look() -> None:
        while True:
            looks.append(await asyncio.to_thread(gateway.get, "/health/live"))
            looks.append(await asyncio.to_thread(gateway.get, "/metrics"))
            await asyncio.sleep(0.25)

    looking = asyncio.ensure_future(look())
    load = asyncio.gather(
        _arrive(client, lambda: flood, rate, seconds, flooded), _arrive(client, lambda: few, FEW, seconds, rest)
    )
    most = await gateway.peak(lambda: not load.done())
    await load
    looking.cancel()
    client.close()
    usual = quantile(unloaded.of(200), 0.5)
    accepted, shed = flooded.of(200) or [float("inf")], flooded.of(503) or [0.0]
    print(f"overload: {len(accepted)} accepted, {len(shed)} shed; of the other key {len(rest.of(200))} accepted")
    return [
        Figure("memory under overload", most / MB, 300, "MB"),
        Figure("shed, p50", 1_000 * quantile(shed, 0.5), 50, "ms"),
        Figure("shed, p99", 1_000 * quantile(shed, 0.99), 50, "ms"),
        Figure("accepted, p50, of the unloaded time", quantile(accepted, 0.5) / usual, 1.2, "x"),
        Figure("accepted, p99, of the unloaded time", quantile(accepted, 0.99) / usual, 1.2, "x"),
        Figure("neither accepted nor shed", flooded.others(200, 503), 0, ""),
        Figure("shed of the key with few requests", rest.others(200), 0, ""),
        Figure("health and metrics, slowest", 1_000 * max(looks), 1_000, "ms"),
    ]


async def bodies(gateway: Gateway) -> list[Figure]:
    """Each client sends until the gateway closes the connection."""
    idle = gateway.memory()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % BODY
    statuses: list[bytes] = []

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        with suppress(OSError):
            writer.write(head)
            for _ in range(BODY // 100_000):
                writer.write(b"x" * 100_000)
                await writer.drain()
        with suppress(OSError):
            statuses.append((await reader.read(12))[9:])
        writer.close()

    sending = asyncio.gather(*(send() for _ in range(BODIES)))
    most = await gateway.peak(lambda: not sending.done())
    await sending
    return [
        Figure(f"memory above idle, {BODIES} x 16 MB without a key", (most - idle) / MB, 10, "MB"),
        Figure("bodies without a key that got no 401", BODIES - statuses.count(b"401"), 0, ""),
    ]


def measure(seconds: float, concurrency: int) -> list[Figure]:
    """Everything, in one run of one gateway."""
    process.allow_many_files()
    subject_cpu, harness_cpu = process.processors()
    with TemporaryDirectory(prefix="overload-") as name, process.pinned(harness_cpu):
        folder = Path(name)
        with (
            mock_host(folder, harness_cpu, tls=False) as host,
            _gateway(folder, host.port, subject_cpu, concurrency) as gateway,
        ):
            host.behave(chunks=CHUNKS, ttft=TTFT, interval=(SECONDS - TTFT) / (CHUNKS + 1))
            return [*uvloop.run(bodies(gateway)), *uvloop.run(overload(gateway, seconds, concurrency))]


def table(figures: Sequence[Figure]) -> str:
    rows = [f"| {one.name} | {one.value:.3g} {one.unit} | {one.limit:g} {one.unit} | {_word(one)} |" for one in figures]
    return "\n".join(["| | measured | limit | |", "|---|---:|---:|---|", *rows])


def _word(one: Figure) -> str:
    return "holds" if one.holds else "**missed**"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of overload")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="of each of the two hosts")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args(arguments)
    figures = measure(given.seconds, given.concurrency)
    print(table(figures))
    if given.json:
        record: list[dict[str, Any]] = [
            {"name": one.name, "value": one.value, "limit": one.limit, "unit": one.unit} for one in figures
        ]
        given.json.write_text(json.dumps(record, indent=1))
    return int(not all(one.holds for one in figures))


if __name__ == "__main__":
    sys.exit(main())
