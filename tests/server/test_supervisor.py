"""The supervisor's processes: they end with it, also when it is killed."""

import signal
import sys
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.server.supervisor import listening
from tests.support.gateway import gateway_command
from tests.support.processes import await_end, command_of, descendants

HOSTS = {"own/host": "http://127.0.0.1:1"}


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


def test_the_kernel_picks_a_port_when_asked() -> None:
    with listening("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_ipv6_is_told_by_the_address() -> None:
    with listening("::1", 0) as listener:
        assert listener.getsockname()[0] == "::1"


def test_an_address_that_is_not_this_machines_is_refused() -> None:
    refused = pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:1: .*; choose another --port")
    with refused, listening("192.0.2.1", 1):
        pass
