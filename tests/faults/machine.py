"""The faults of the store and of the machine. Each has a gateway of its own, which must serve on and come back.

gateway, one good request ──> the fault ──> requests ──> `/health/ready` ──> the fault ends ──> does it come back?
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from gateway.telemetry.ledger import read
from tests.faults.asking import Got, ask
from tests.faults.scripts import good
from tests.support import valkey
from tests.support.gateway import Running, gateway_command, write_policy
from tests.support.host import ScriptedHost
from tests.support.processes import command_of, descendants
from tests.support.wire import talker

MODEL = "deepseek-v3.2"
REQUESTS = 6  # while the fault lasts, half of them streamed
AT_ONCE = 3  # gateways
START = 60.0  # seconds: others start as well
SAID_WITHIN = BACK_WITHIN = 10.0  # seconds
LOOKS, LOOK_EVERY = 20, 0.05  # into the ledger; seconds between two
USUAL = {"status": "ok", "store": "up", "endpoints": 1}
DISK = 4 * 2**20  # bytes of the small state disk


@dataclass
class Scene:
    """A gateway with a fault at work. `store` is the URL of its store, empty where that is the embedded one."""

    running: Running
    store: str

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self.running.process is not None
        return self.running.process

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self, word: str) -> list[int]:
        """Its processes whose command holds this word."""
        return [pid for pid in descendants(self.pid) if word in command_of(pid)]


Cause = Callable[[Scene], AbstractAsyncContextManager[None]]
Store = Callable[[Path], AbstractAsyncContextManager[str]]


@dataclass(frozen=True, slots=True)
class MachineFault:
    """`cause` makes the fault, and ends it. `store` is where the store is; None for the embedded one. `says` is a word
    that readiness must show while the fault lasts. `stays`: it does not end. `loses`: rows of the ledger are lost.
    `refuses`: nobody can be served while it lasts. `alive`: a word of a process's command, and how many of them must
    run again."""

    name: str
    cause: Cause
    store: Store | None = None
    workers: int = 1
    python: Callable[[Path], Path] | None = None
    says: str = ""
    stays: bool = False
    loses: bool = False
    refuses: bool = False
    alive: tuple[str, int] = ("", 0)


@dataclass(slots=True)
class MachineTrial:
    """`got` are the answers while the fault lasted, `ready` what readiness said then. `back` are the seconds until all
    was well again; None where it was not within ten. `rows` are the requests that the ledger knows, of `sent`; `kept`
    says whether the last one is among them."""

    fault: MachineFault
    got: list[Got] = field(default_factory=list)
    ready: str = ""
    back: float | None = None
    sent: int = 0
    rows: int = 0
    kept: bool = False
    ended: bool = False


async def run(faults: Sequence[MachineFault], folder: Path) -> list[MachineTrial]:
    trials = [MachineTrial(fault) for fault in faults]
    gate = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(_limited(gate, trial, folder / str(number)) for number, trial in enumerate(trials)))
    return trials


async def _limited(gate: asyncio.Semaphore, trial: MachineTrial, folder: Path) -> None:
    async with gate:
        folder.mkdir()
        try:
            await _try(trial, folder)
        except Exception as error:
            raise RuntimeError(f"{trial.fault.name}: {(folder / 'log').read_text()[-2000:]}") from error


async def _try(trial: MachineTrial, folder: Path) -> None:
    fault = trial.fault
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(ScriptedHost(good))
        store = await stack.enter_async_context(fault.store(folder)) if fault.store else ""
        log = stack.enter_context((folder / "log").open("wb"))
        arguments = ["--workers", str(fault.workers), *(["--redis", store] if store else [])]
        python = fault.python(folder) if fault.python else sys.executable
        write_policy(folder / "policies", "usual")
        started = gateway_command(folder, {"a/fp8": host.url}, *arguments, python=python, within=START, stderr=log)
        scene = Scene(await stack.enter_async_context(started), store)
        await _question(trial, scene, stream=False)
        async with fault.cause(scene):
            trial.got = [await _question(trial, scene, stream=number % 2 == 0) for number in range(REQUESTS)]
            trial.ready = await _ready(scene, fault.says)
        if not fault.stays:
            trial.back = await _comes_back(trial, scene)
        await _read_ledger(trial, scene)
        trial.ended = scene.process.returncode is not None
        if not trial.ended:
            _kill(scene)  # after such a fault it may not listen to anything softer


def _kill(scene: Scene) -> None:
    for pid in (*descendants(scene.pid), scene.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _question(trial: MachineTrial, scene: Scene, stream: bool) -> Got:
    """Each over a connection of its own, so that any worker may get it."""
    trial.sent += 1
    async with httpx.AsyncClient(base_url=scene.running.url, timeout=5, trust_env=False, verify=False) as client:
        return await ask(client, MODEL, stream)


async def _ready(scene: Scene, says: str) -> str:
    """What readiness says, where it must say something: as soon as it does, or after ten seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (SAID_WITHIN if says else 0)
    while says not in (told := await _readiness(scene)) and loop.time() < deadline:
        await asyncio.sleep(0.25)
    return told


async def _readiness(scene: Scene) -> str:
    """Status and what is not as usual."""
    async with httpx.AsyncClient(base_url=scene.running.url, timeout=5, trust_env=False, verify=False) as client:
        try:
            answer = await client.get("/health/ready")
            told: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            return type(error).__name__
    odd = [f"{name}: {_short(value)}" for name, value in told.items() if value and USUAL.get(name) != value]
    return f"{answer.status_code}{' ' if odd else ''}{', '.join(odd)}"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"/[^ ,:]*/", "", text)[:60]


async def _comes_back(trial: MachineTrial, scene: Scene) -> float | None:
    """Seconds until readiness is as usual and requests are answered."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() < began + BACK_WITHIN:
        answered = (await _question(trial, scene, stream=False)).end == "done"
        word, number = trial.fault.alive
        if answered and await _readiness(scene) == "200" and len(scene.children(word)) >= number:
            return loop.time() - began
        await asyncio.sleep(0.5)
    return None


async def _read_ledger(trial: MachineTrial, scene: Scene) -> None:
    """All rows, as soon as each request has one: a deleted segment is restored within a second."""
    folder = scene.running.folder
    inside = Path(f"/proc/{scene.pid}/root{folder}")  # where the state folder is a disk of its own
    began = time.time()
    for _ in range(LOOKS):
        rows = [row.at for row in read((inside if inside.exists() else folder) / "ledger") if row.last]
        if len(rows) >= trial.sent or trial.fault.loses:
            break
        await asyncio.sleep(LOOK_EVERY)
    trial.rows = len(rows)
    trial.kept = bool(rows) and max(rows) > began - 2


# ---- stores


@asynccontextmanager
async def _own_store(folder: Path) -> AsyncIterator[str]:
    with valkey.running(folder / "own-store") as url:
        yield url


@asynccontextmanager
async def _nowhere(folder: Path) -> AsyncIterator[str]:
    yield f"unix://{folder}/nothing.sock"


def _says(answer: bytes) -> Store:
    return lambda _: talker(lambda _: answer)


@asynccontextmanager
async def nothing_more(_: Scene) -> AsyncIterator[None]:
    """The fault is there from the start, and stays."""
    await asyncio.sleep(0.5)
    yield


def _commands(begin: Sequence[str], end: Sequence[str]) -> Cause:
    @asynccontextmanager
    async def cause(scene: Scene) -> AsyncIterator[None]:
        with redis.Redis.from_url(scene.store) as client:
            client.execute_command(*begin)
            await asyncio.sleep(1.0)
            yield
            client.execute_command(*end)

    return cause


def _signals(pids: Callable[[Scene], list[int]], begin: signal.Signals, end: signal.Signals | None = None) -> Cause:
    """A signal to some of its processes, and another one after it."""

    @asynccontextmanager
    async def cause(scene: Scene) -> AsyncIterator[None]:
        chosen = pids(scene)
        for pid in chosen:
            os.kill(pid, begin)
        await asyncio.sleep(0.3)
        yield
        for pid in chosen if end else ():
            os.kill(pid, end)  # type: ignore[arg-type]

    return cause


def _embedded(scene: Scene) -> list[int]:
    return scene.children("valkey-server")


def _own(scene: Scene) -> list[int]:
    with redis.Redis.from_url(scene.store) as client:
        return [int(client.info("server")["process_id"])]  # type: ignore[index]


def _one_worker(scene: Scene) -> list[int]:
    return scene.children("spawn_main")[:1]


# ---- the machine


def _on_a_small_disk(folder: Path) -> Path:
    """An interpreter for which the state folder is a disk of a few megabytes."""
    state = folder / "state"
    state.mkdir()
    mount = f'mount -t tmpfs -o size={DISK} none {state} && exec "$0" "$@"'
    return _script(folder, f"exec unshare --user --map-root-user --mount sh -c '{mount}' {sys.executable} \"$@\"")


def _with_few_descriptors(folder: Path) -> Path:
    return _script(folder, f'ulimit -n 64; exec {sys.executable} "$@"')


def _script(folder: Path, text: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as filler:
        while filler.write(b"\0" * 4096):
            pass


@asynccontextmanager
async def _disk_is_full(scene: Scene) -> AsyncIterator[None]:
    inside = Path(f"/proc/{scene.pid}/root{scene.running.folder}/filler")
    _fill(inside)
    yield
    with suppress(FileNotFoundError):  # the gateway has ended, and its disk with it
        inside.unlink()


@asynccontextmanager
async def _folder_is_deleted(scene: Scene) -> AsyncIterator[None]:
    shutil.rmtree(scene.running.folder, ignore_errors=True)
    yield


@asynccontextmanager
async def _all_descriptors(scene: Scene) -> AsyncIterator[None]:
    address, port = scene.running.url.removeprefix("http://").split(":")
    with _connections(address, int(port), 100):
        await asyncio.sleep(0.3)
        yield


@contextmanager
def _connections(address: str, port: int, number: int) -> Iterator[None]:
    opened = [socket.create_connection((address, port)) for _ in range(number)]
    try:
        yield
    finally:
        for one in opened:
            one.close()


@asynccontextmanager
async def _pipe_among_policies(scene: Scene) -> AsyncIterator[None]:
    path = scene.running.policies / "pipe.yaml"
    os.mkfifo(path)
    await asyncio.sleep(3.0)
    yield
    path.unlink()


@asynccontextmanager
async def _policy_is_broken(scene: Scene) -> AsyncIterator[None]:
    path = scene.running.policies / "broken.yaml"
    path.write_text("name: broken\npick: {how: nonsense}\n")
    await asyncio.sleep(1.5)
    yield
    path.unlink()


@asynccontextmanager
async def _folder_is_gone(scene: Scene) -> AsyncIterator[None]:
    away = scene.running.policies.with_name("away")
    scene.running.policies.rename(away)
    await asyncio.sleep(1.5)
    yield
    away.rename(scene.running.policies)


_FULL = (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "256mb"))
_READ_ONLY = (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))
_HANGS = (signal.SIGSTOP, signal.SIGCONT)


def _store(name: str, store: Store, cause: Cause | None = None) -> MachineFault:
    """Readiness must say that the store is down."""
    return MachineFault(name, cause or nothing_more, store, says="store: ", stays=cause is None)


STORES = [
    _store("is not there", _nowhere),
    _store("is no store", _says(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    _store("wants a password", _says(b"-NOAUTH Authentication required.\r\n")),
    _store("loads its data", _says(b"-LOADING Valkey is loading\r\n")),
    _store("never answers", _says(b"")),
    _store("hangs, then goes on", _own_store, _signals(_own, *_HANGS)),
    _store("is full", _own_store, _commands(*_FULL)),
    _store("is read only", _own_store, _commands(*_READ_ONLY)),
    MachineFault("the embedded one is killed", _signals(_embedded, signal.SIGKILL), alive=("valkey-server", 1)),
    MachineFault("the embedded one hangs, then goes on", _signals(_embedded, *_HANGS), says="store: "),
]
_SMALL_DISK: dict[str, Any] = {"python": _on_a_small_disk, "says": "degraded", "loses": True}
MACHINE = [
    MachineFault("the state disk is full", _disk_is_full, **_SMALL_DISK),
    MachineFault("the state disk is full, two workers", _disk_is_full, workers=2, **_SMALL_DISK),
    MachineFault("the state folder is deleted", _folder_is_deleted),
    MachineFault("all descriptors are used up", _all_descriptors, python=_with_few_descriptors, refuses=True),
    MachineFault(
        "one of two workers is killed", _signals(_one_worker, signal.SIGKILL), workers=2, alive=("spawn_main", 2)
    ),
    MachineFault("a policy with a mistake", _policy_is_broken, says="policy_problems"),
    MachineFault("a pipe among the policies", _pipe_among_policies),
    MachineFault("the folder of policies is gone for a moment", _folder_is_gone, says="policy_problems"),
]
GROUPS: dict[str, list[MachineFault]] = {"The store": STORES, "The machine": MACHINE}
