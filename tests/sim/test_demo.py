"""`gateway demo` as users start it: what it says, and that it leaves nothing behind, however it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.sim.demo import QUESTION
from gateway.sim.demofleet import FLEET
from gateway.sim.host import serving
from tests.support.processes import await_end, command_of, descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are tied to their parent on Linux only")

GUARD = 60  # seconds for one run
READY = "Ctrl-C ends the demo"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The system's temporary folder as the demo sees it: a short path, because sockets allow no long one."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


def start(temporary: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gateway", "demo", "--host-speed", "20", *arguments]
    environ = os.environ | {"TMPDIR": str(temporary), "GATEWAY_API_KEYS": "app:a-key-of-the-users-own-gateway"}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def running(temporary: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", list[str], set[int]]]:
    """A demo that stays: its process, what it has said, and the processes it started, which must end with it."""
    with start(temporary, "--port", "0", *arguments) as demo:
        children: set[int] = set()
        try:
            said = read_until(demo, READY)
            children = descendants(demo.pid)
            yield demo, said, children
        finally:
            demo.kill()
            await_end(children)


def read_until(demo: "subprocess.Popen[str]", words: str) -> list[str]:
    assert demo.stdout is not None
    said: list[str] = []
    for line in demo.stdout:
        said.append(line.rstrip("\n"))
        if words in line:
            return said
    pytest.fail(f"the demo ended before it said {words!r}: {said}, {demo.stderr and demo.stderr.read()}")


def test_once_asks_twice_and_ends(temporary: Path) -> None:
    with start(temporary, "--once", "--port", "0") as demo:
        out, errors = demo.communicate(timeout=GUARD)
    assert (demo.returncode, errors) == (0, "")
    assert re.search(r"sim-\S+: TTFT \d+\.\d\d s, \d+ tokens in, 40 out, \$0\.0000\d\d\n", out)
    assert re.search(r"from the response cache: \d+ ms, \$0\n", out)
    assert max(map(len, out.splitlines())) <= 80
    assert out.endswith("\n\nEnded, files removed.\n")
    assert list(temporary.iterdir()) == []


def test_a_taken_port_is_reported_in_one_line_before_anything_starts(temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(temporary, "--once", "--port", str(port)) as demo:
            out, errors = demo.communicate(timeout=GUARD)
    assert (demo.returncode, out) == (2, "")
    why = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port, or 0 for any free one"
    assert errors == f"gateway: {why}\n"
    assert list(temporary.iterdir()) == []


def test_what_it_says_fits_80_columns_and_names_a_policy_that_can_be_edited(temporary: Path) -> None:
    with running(temporary) as (_, said, _):
        own = ("$EDITOR", "tail -f", "  --url", str(Path(sys.executable).parent))  # as long as this machine's folders
        assert [line for line in said if len(line) > 80 and not line.startswith(own)] == []
        policy = Path(next(line for line in said if line.startswith("$EDITOR")).split()[1])
        assert policy.read_text().startswith("# yaml-language-server: $schema=./policy.schema.json\n")
        assert (policy.parent / "policy.schema.json").is_file()
        log = Path(next(line for line in said if line.startswith("tail -f")).split()[2])
        url = next(line.split()[0] for line in said if "/metrics" in line).removesuffix("/metrics")
        assert f"listening on {url}, " in log.read_text()
        assert f'client = OpenAI(base_url="{url}/v1", api_key="none")' in said
        assert f"curl -N {url}/v1/chat/completions \\" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(temporary: Path, number: signal.Signals) -> None:
    with running(temporary) as (demo, _, children):
        assert len(children) == 3  # the hosts, the gateway and its store
        demo.send_signal(number)
        assert demo.wait(GUARD) == 0
        assert demo.stdout
        assert demo.stdout.read() == "\nEnded, files removed.\n"
        await_end(children)
        assert list(temporary.iterdir()) == []


def test_what_became_of_an_edited_policy_is_reported(temporary: Path) -> None:
    with running(temporary) as (demo, said, _):
        policy = Path(next(line for line in said if line.startswith("$EDITOR")).split()[1])
        text = policy.read_text()
        policy.write_text(text + "wrong: 1\n")
        assert read_until(demo, "balanced.yaml")[0] == "policies not reloaded, the old ones stay in force:"
        policy.write_text(text)
        assert read_until(demo, "policies in force: unchanged")


def test_traffic_flows_is_counted_and_ends_with_the_demo(temporary: Path) -> None:
    with running(temporary, "--traffic") as (demo, _, children):
        while " 0 answered" in (counted := read_until(demo, " sent, ")[-1]):  # a busy machine takes long
            pass
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d  [1-9]\d* sent, [1-9]\d* answered, \d+ from the cache, \d+ failed, \d+ in flight", counted
        )
        demo.send_signal(signal.SIGINT)
        assert demo.wait(GUARD) == 0
        await_end(children)
        assert list(temporary.iterdir()) == []


def test_its_processes_end_when_it_is_killed(temporary: Path) -> None:
    with running(temporary) as (demo, _, children):
        assert len(children) == 3
        demo.kill()
        demo.wait(GUARD)
        await_end(children)


def test_a_gateway_that_ends_by_itself_ends_the_demo(temporary: Path) -> None:
    with running(temporary) as (demo, _, children):
        os.kill(next(pid for pid in children if "gateway serve" in command_of(pid)), signal.SIGKILL)
        _, errors = demo.communicate(timeout=GUARD)
        assert demo.returncode == 1
        assert errors.startswith("gateway demo: the gateway ended: ")
        await_end(children)


async def test_every_simulated_host_answers_its_first_question() -> None:
    """Whichever host the gateway picks, the demo's own question must not meet a fault that is drawn by chance."""
    async with serving(FLEET, speed=0) as addresses, httpx.AsyncClient() as client:
        body = {"model": "any", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
        for address in addresses.values():
            response = await client.post(f"{address}/v1/chat/completions", json=body)
            assert response.status_code == 200
            assert response.text.endswith("data: [DONE]\n\n")
