"""What a request costs the transport by each way out: directly and through a CONNECT proxy, in plain and by TLS.

    python -m bench.egress [--requests N]              CPU time, of rounds that take turns, because machines drift
    valgrind ... python -m bench.egress --way NAME     one way only: the difference of two N is N requests

Host and proxies are processes of their own. A plain relay is between in the direct ways, too, so that all answers take
as long: a process that waits longer pays more for waking up. Connections are kept, except in the last table.
"""

import argparse
import asyncio
import multiprocessing
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import uvloop

from gateway.types import Fault
from gateway.types.egress import ProxyAddress
from gateway.upstream.transport.pool import Egress, Origin
from gateway.upstream.transport.tls import Trust
from gateway.upstream.transport.transport import Transport
from tests.support.certificates import self_signed

ROUNDS = 7
BODY = b"x" * 1024
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n" + b"y" * 512
LENGTH = len(HEAD) + len(BODY)
SERVERS: list[asyncio.Server] = []  # of the other process; without a reference they would be collected


class Receiver:
    """Ends a future with the answer."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert status == 200

    def on_data(self, data: bytes) -> None: ...

    def on_complete(self) -> None:
        self.ended.set_result(None)

    def on_lost(self, fault: Fault, message: str) -> None:
        self.ended.set_exception(RuntimeError(f"{fault}: {message}"))


async def _host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readexactly(LENGTH)
            writer.write(ANSWER)
    except asyncio.IncompleteReadError:
        writer.close()


async def _proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await _relay(int(head.split(b" ")[1].rpartition(b":")[2]), reader, writer)


async def _relay(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host_reader, host_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
        target.close()

    await asyncio.gather(pump(reader, host_writer), pump(host_reader, writer))


def _serving(pipe: Connection, certificate: Path) -> None:
    """Sends the ports of host, host with TLS, their relays, and the proxy."""

    async def listening(handler: Callable[..., Awaitable[None]], tls: ssl.SSLContext | None = None) -> int:
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
        SERVERS.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def serve() -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        hosts = [await listening(_host), await listening(_host, tls)]
        relays = [await listening(partial(_relay, port)) for port in hosts]
        pipe.send([*hosts, *relays, await listening(_proxy)])
        await asyncio.Event().wait()

    uvloop.run(serve())


def _ways(ports: list[int], certificate: Path) -> dict[str, tuple[Origin, Trust]]:
    plain, tls, plain_relay, tls_relay, proxy = ports
    through = ProxyAddress("http", "127.0.0.1", proxy)
    own, system = Trust(certificate), Trust()
    system.load_verify_locations(certificate)  # as if it were among the system's
    return {
        "http, direct": (Origin("http", "localhost", plain_relay), system),
        "http, CONNECT": (Origin("http", "localhost", plain, Egress(through)), system),
        "https, direct": (Origin("https", "localhost", tls_relay), system),
        "https, direct, ca_file": (Origin("https", "localhost", tls_relay, Egress(trust=own)), system),
        "https, CONNECT": (Origin("https", "localhost", tls, Egress(through)), system),
        "https, CONNECT, ca_file": (Origin("https", "localhost", tls, Egress(through, own)), system),
    }


async def _compare(ways: dict[str, tuple[Origin, Trust]], requests: int) -> None:
    for title, count, most_idle in (("kept connections", requests, 1), ("a connection for each", requests // 20, 0)):
        print(f"\n{title}: us of CPU, us of time, per request of 1 KB")
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (origin, trust) in ways.items():
                taken[name].append(await _round(Transport(max_idle=most_idle, trust=trust), origin, count))
        for name, rounds in taken.items():
            cpu, seconds = (median(one[place] for one in rounds) * 1e6 for place in (0, 1))
            print(f"  {name:26} {cpu:8.1f} {seconds:8.1f}")


async def _round(transport: Transport, origin: Origin, count: int) -> tuple[float, float]:
    await _one(transport, origin)
    cpu, began = process_time(), perf_counter()
    for _ in range(count):
        await _one(transport, origin)
    result = (process_time() - cpu) / count, (perf_counter() - began) / count
    transport.close()
    return result


async def _one(transport: Transport, origin: Origin) -> None:
    receiver = Receiver()
    transport.send(origin, HEAD, BODY, receiver, 10.0)
    await receiver.ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder), "localhost")
        context = multiprocessing.get_context("spawn")  # a process of its own for valgrind, too
        ours, theirs = context.Pipe()
        server = context.Process(target=_serving, args=(theirs, certificate), daemon=True)
        server.start()
        ways = _ways(ours.recv(), certificate)
        if options.way:
            origin, trust = ways[options.way]
            uvloop.run(_round_of(origin, trust, options.requests))
        else:
            uvloop.run(_compare(ways, options.requests))
        server.terminate()


async def _round_of(origin: Origin, trust: Trust, requests: int) -> None:
    await _round(Transport(trust=trust), origin, requests)


if __name__ == "__main__":
    main()
