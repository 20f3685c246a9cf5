"""What a trial does to a gateway while it serves: workers and the store are killed, hosts refuse.

A worker that is to be killed is stopped first, so that the connections that die with it are known exactly.
"""

import asyncio
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.reliability.site import Site
from tests.support.processes import GUARD

REFUSED_EVERY, REFUSED_FOR = 20.0, 3.0  # seconds
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(slots=True)
class Done:
    """What was done so far. `lost` has the clients' ports whose worker was killed."""

    workers_killed: int = 0
    stores_killed: int = 0
    refusals: int = 0
    lost: set[int] = field(default_factory=set)
    killed_at: list[float] = field(default_factory=list)  # unix times


async def kill_workers(site: Site, every: float, rng: Random, done: Done) -> None:
    """One random worker in each period, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        pid = rng.choice(site.workers())
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(pid, signal.SIGSTOP)
            await stopped(pid)
            done.lost |= client_ports(pid, site.port)
            os.kill(pid, signal.SIGKILL)
            done.workers_killed += 1
            done.killed_at.append(loop.time())


async def kill_store(site: Site, every: float, down: float, done: Done) -> None:
    """The store, in each period, for `down` seconds."""
    assert site.store is not None
    while True:
        await asyncio.sleep(every - down)
        done.stores_killed += 1
        await site.store.kill(down)


async def refuse_hosts(site: Site, rng: Random, done: Done) -> None:
    """One random host's listener is closed for a moment, now and then."""
    names = list(site.fleet.hosts)
    while True:
        await asyncio.sleep(rng.uniform(0.5, 1.5) * REFUSED_EVERY)
        done.refusals += 1
        await site.fleet.refuse(rng.choice(names), REFUSED_FOR)


async def stopped(pid: int) -> None:
    """Wait until a process that got SIGSTOP is stopped: before that it may still accept a connection."""
    async with asyncio.timeout(GUARD):
        while "T" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
            await asyncio.sleep(0.001)


def client_ports(pid: int, port: int) -> set[int]:
    """The clients' ports of this process's connections on the listening `port`. Linux only: read from /proc."""
    owned = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if found := _SOCKET.fullmatch(os.readlink(link)):
                owned.add(found[1])
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, inode = (line.split()[at] for at in (1, 2, 9))
        if inode in owned and int(local.partition(":")[2], 16) == port:
            ports.add(int(remote.partition(":")[2], 16))
    return ports
