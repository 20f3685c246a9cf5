"""The simulated fleet as real HTTP servers, one port for each host, all in one process.

    python -m gateway.sim.host --ports-file PATH [--speed 10] [--seed 0] [--key-env NAME]

When all hosts listen, `{endpoint id: "http://127.0.0.1:PORT"}` is written to PATH atomically. The process ends with its
parent, even when that is killed. (On Linux: with the thread that started it.) Each host serves:

    POST /v1/chat/completions, GET /v1/models    as OpenAI does, in the host's dialect and at its speed
    POST /_sim {"next": ["429", "cut"], "speed": 0}    sets the faults of its next requests, and the speed of its clock
    GET  /_sim    returns its counters
"""

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import orjson

from gateway.sim.demofleet import FLEET
from gateway.sim.flaws import SOUND, Flaws
from gateway.sim.machine import Machine
from gateway.sim.sim_connection import SimConnection
from gateway.sim.sim_host import SimHost
from gateway.state.parent_death import end_this_with_parent


@asynccontextmanager
async def serving(
    hosts: Sequence[SimHost],
    *,
    speed: float = 1.0,
    seed: int = 0,
    key: str | None = None,
    flaws: Mapping[str, Flaws] | None = None,
) -> AsyncIterator[dict[str, str]]:
    """Serves each host on a loopback port that the kernel picks; yields {endpoint id: URL}. `flaws` by endpoint id."""
    loop = asyncio.get_running_loop()
    peers: set[SimConnection] = set()
    servers: list[asyncio.Server] = []
    addresses: dict[str, str] = {}
    try:
        for host in hosts:
            machine = Machine(host, (flaws or {}).get(host.id, SOUND), speed=speed, seed=seed, key=key)
            server = await loop.create_server(partial(SimConnection, machine, peers), "127.0.0.1", 0)
            servers.append(server)
            addresses[host.id] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield addresses
    finally:
        for server in servers:
            server.close()
        for peer in list(peers):
            peer.abort()
        for server in servers:
            await server.wait_closed()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves `FLEET` until a signal ends the process."""
    end_this_with_parent(os.getppid())
    options = _parser().parse_args(arguments)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    key = os.environ[options.key_env] if options.key_env else None
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(FLEET, speed=options.speed, seed=options.seed, key=key) as addresses:
        _write_whole(options.ports_file, orjson.dumps(addresses, option=orjson.OPT_INDENT_2))
        await stop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway.sim.host", description="Simulated DeepSeek-V3.2 hosts.")
    parser.add_argument("--ports-file", type=Path, required=True, help="file for the addresses, as JSON")
    parser.add_argument("--speed", type=float, default=1.0, help="factor on the hosts' clock; 0 answers at once")
    parser.add_argument("--seed", type=int, default=0, help="seed of latencies and faults")
    parser.add_argument("--key-env", help="environment variable with the key that clients must send; default: none")
    return parser


def _write_whole(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's, if it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
