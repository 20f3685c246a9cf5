"""The supervisor's processes end with it, also when it is killed; signals end it in order, and its log tells."""

import asyncio
import fcntl
import os
import platform
import re
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.errors import ConfigError
from gateway.server.supervisor import listening
from tests.support.gateway import Running, gateway_command, write_config
from tests.support.host import Out, Received, ScriptedHost
from tests.support.processes import await_end, command_of, descendants, malloc_arenas

HOSTS = {"own/host": "http://127.0.0.1:1"}
Log = Callable[[], str]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
async def test_store_and_workers_end_with_it(tmp_path: Path, workers: int, number: signal.Signals) -> None:
    async with gateway_command(tmp_path, HOSTS, "--workers", str(workers)) as running:
        assert running.process is not None
        children = descendants(running.process.pid)
        told = sorted(command_of(child) for child in children)
        assert sum("valkey" in command for command in told) == 1
        assert sum("spawn_main" in command for command in told) == (workers if workers > 1 else 0)
        running.process.send_signal(number)
        await running.process.wait()
        await_end(children)


@asynccontextmanager
async def served(
    folder: Path, *arguments: str, host: str = "http://127.0.0.1:1", session: Callable[[], None] | None = None
) -> AsyncIterator[tuple[Running, Log]]:
    """A gateway, and what it has logged so far."""
    log = folder / "log"
    with log.open("wb") as stderr:
        async with gateway_command(folder, {"own/host": host}, *arguments, stderr=stderr, session=session) as running:
            yield running, log.read_text


async def ended(running: Running, *numbers: signal.Signals) -> int:
    """Sends signals, and returns the exit code."""
    assert running.process is not None
    for number in numbers:
        running.process.send_signal(number)
    return await asyncio.wait_for(running.process.wait(), 60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_signal_ends_it_in_order(tmp_path: Path, workers: str, number: signal.Signals) -> None:
    async with served(tmp_path, "--workers", workers) as (running, log):
        assert await ended(running, number) == 0
        own = [line for line in log().splitlines() if " INFO gateway: " in line]  # a worker may still be starting
        assert [line.rpartition("gateway: ")[2].split(":")[0] for line in own[-2:]] == [
            "draining",
            "stopped",
        ]
        assert "Traceback" not in log()


@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
async def test_an_answer_under_way_is_cut_off_by_a_second_signal(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def silent(_: Received, __: Out) -> None:
        asked.set()
        await never.wait()

    async with (
        ScriptedHost(silent) as host,
        served(tmp_path, "--workers", workers, host=host.url) as (running, log),
    ):
        question = asyncio.create_task(running.chat())
        await asked.wait()
        assert running.process is not None
        running.process.send_signal(number)
        async with asyncio.timeout(60):
            while "draining" not in log():
                await asyncio.sleep(0.01)
        assert not question.done()
        assert await ended(running, number) == 130
        assert "Traceback" not in log()
        with pytest.raises(httpx.TransportError):
            await question


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_closed_terminal_ends_it_in_order(tmp_path: Path, workers: str) -> None:
    ours, theirs = os.openpty()

    def controlled() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    async with served(tmp_path, "--workers", workers, session=controlled) as (running, log):
        assert running.process is not None
        os.close(theirs)
        os.close(ours)
        assert await asyncio.wait_for(running.process.wait(), 60) == 0
        assert "Traceback" not in log()


async def test_a_hangup_while_the_terminal_is_open_reads_the_files_again(tmp_path: Path) -> None:
    ours, theirs = os.openpty()

    def controlled() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    async with served(tmp_path, session=controlled) as (running, log):
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while "configuration in force: unchanged" not in log():
                await asyncio.sleep(0.01)
        assert await ended(running, signal.SIGTERM) == 0
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_without_a_terminal_a_hangup_reads_the_files_again(tmp_path: Path, workers: str) -> None:
    async with served(tmp_path, "--workers", workers, session=os.setsid) as (running, log):
        assert running.process is not None
        for times in (1, 2):
            running.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(60):
                while log().count("configuration in force: unchanged") < times:
                    await asyncio.sleep(0.01)
        assert (await running.client.get("/health/live")).status_code == 200
        assert await ended(running, signal.SIGTERM) == 0


FAILING = """
from gateway.app import Worker

async def start(self):
    raise RuntimeError("no disk")

Worker.start = start
"""


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_failed_start_is_an_error_and_no_normal_end(tmp_path: Path, workers: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAILING)  # every process of this Python imports it
    command = ("-m", "gateway", "serve", "--config", str(write_config(tmp_path, HOSTS, None)), "--port", "0")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--state", str(tmp_path / "state"), "--workers", workers),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, log = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert log.decode().splitlines()[-1] == "gateway: the server could not start; its log has the error"
    assert b"RuntimeError: no disk" in log


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU])
async def test_a_background_jobs_signals_leave_the_workers_as_they_are(tmp_path: Path, number: signal.Signals) -> None:
    async with served(tmp_path, "--workers", "2", session=os.setsid) as (running, log):
        assert running.process is not None
        before = descendants(running.process.pid)
        running.process.send_signal(number)
        running.process.send_signal(signal.SIGHUP)  # signals are handled in turn
        async with asyncio.timeout(60):
            while "configuration in force: unchanged" not in log():
                await asyncio.sleep(0.01)
        assert descendants(running.process.pid) == before
        assert await ended(running, signal.SIGTERM) == 0


async def test_the_terminals_signals_reach_no_worker(tmp_path: Path) -> None:
    """A terminal sends them to every process: the supervisor alone decides what they mean."""
    async with served(tmp_path, "--workers", "2") as (running, _):
        assert running.process is not None
        workers = [child for child in descendants(running.process.pid) if "spawn_main" in command_of(child)]
        held = [int(re.findall(r"SigBlk:\s+(\w+)", Path(f"/proc/{one}/status").read_text())[0], 16) for one in workers]
        assert [mask & 1 << number - 1 != 0 for mask in held for number in (signal.SIGINT, signal.SIGHUP)] == [True] * 4


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path, workers: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does, for the process that is started next
    try:
        async with served(tmp_path, "--workers", workers) as (running, _):
            assert running.process is not None
            ignored = re.findall(r"SigIgn:\s+(\w+)", Path(f"/proc/{running.process.pid}/status").read_text())[0]
            assert int(ignored, 16) & 1 << signal.SIGHUP - 1
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
@pytest.mark.parametrize("workers", [1, 2])
async def test_the_threads_of_a_worker_share_one_arena(tmp_path: Path, workers: int) -> None:
    async with served(tmp_path, "--workers", str(workers)) as (running, _):
        assert running.process is not None
        children = [one for one in descendants(running.process.pid) if "spawn_main" in command_of(one)]
        serving = children if workers > 1 else [running.process.pid]
        assert len(serving) == workers
        async with httpx.AsyncClient() as client:
            await client.get(f"{running.url}/metrics")  # which a thread of the pool answers
        assert [malloc_arenas(one) for one in serving] == [0] * workers, "besides the main thread's"


async def test_the_log_says_where_it_listens_and_what_it_uses(tmp_path: Path) -> None:
    async with served(tmp_path) as (running, log):
        said = [line.partition("INFO gateway: ")[2] for line in log().splitlines()[:3]]
        assert said == [
            f"listening on {running.url}, model page at {running.url}/",
            "deepseek/deepseek-v3.2: endpoints in use (1): own/host",
            "default policy balanced, store embedded, for this machine only, 1 worker(s)",
        ]


async def test_a_long_list_of_endpoints_is_cut_between_two(tmp_path: Path) -> None:
    hosts = {f"a-long-name/of-host-{number:02}": "http://127.0.0.1:1" for number in range(9)}
    with (tmp_path / "log").open("wb") as stderr:
        async with gateway_command(tmp_path, hosts, stderr=stderr):
            listed = re.search(r"endpoints in use \(9\): (.*) and (\d+) more\n", (tmp_path / "log").read_text())
    assert listed
    assert listed[1].split(", ") == list(hosts)[: 9 - int(listed[2])]


async def test_every_worker_logs_with_its_process(tmp_path: Path) -> None:
    async with served(tmp_path, "--workers", "2") as (running, log):
        assert running.process is not None
        workers = {child for child in descendants(running.process.pid) if "spawn_main" in command_of(child)}
        async with asyncio.timeout(60):
            while {
                int(pid) for pid in re.findall(r"INFO \[(\d+)\] gateway\.state\.store: store .* is up", log())
            } != workers:
                await asyncio.sleep(0.02)


def test_port_0_lets_the_kernel_pick_a_port() -> None:
    with listening("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_ipv6_is_recognised_by_the_address() -> None:
    with listening("::1", 0) as listener:
        assert listener.getsockname()[0] == "::1"


def test_an_address_that_is_not_this_machines_is_refused() -> None:
    refused = pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:1: .*; choose another --host or --port")
    with refused, listening("192.0.2.1", 1):
        pass


async def test_an_open_gateway_says_by_which_names_it_may_be_called(tmp_path: Path) -> None:
    async with served(tmp_path, "--host", "0.0.0.0", "--no-auth") as (running, log):
        assert "WARNING gateway: without keys anyone who can reach this gateway spends your money" in log()
        assert (await running.client.get("/v1/models")).status_code == 200
        named = await running.client.get("/v1/models", headers={"host": "gateway.default.svc"})
        assert named.status_code == 403
        assert "allowed_hosts" in named.json()["error"]["message"]
