"""README's shell blocks, run as a newcomer would: in a clone, with an environment of nothing but PATH and HOME."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.gateway import write_config
from tests.support.host import ScriptedHost, chunks, streams
from tests.support.ports import free_port
from tests.support.programs import needs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", "").splitlines() if line]
GUARD = 120  # seconds for one block
# The lines that other tests try: the targets of make in CI, the demo profile in tests/deploy/test_compose.py.
ELSEWHERE = ("make demo", "make test", "docker compose --profile demo up")


@pytest.fixture
def clone() -> Iterator[Path]:
    """What these blocks need of a clone: the policies, with the one that README shows, and the command. A short path,
    because sockets allow no long one."""
    shown = re.search(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert shown
    with TemporaryDirectory(prefix="t-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "policies", folder / "policies")
        (folder / "policies" / "support-bot.yaml").write_text(shown[1])
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "gateway").symlink_to(Path(sys.executable).with_name("gateway"))
        yield folder


def environ(clone: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(clone)}


def block_with(words: str) -> str:
    (found,) = (block for block in BLOCKS if words in block)
    return str(found)


def run(script: str, clone: Path) -> "subprocess.CompletedProcess[str]":
    command = ["sh", "-eu", "-c", script]
    return subprocess.run(command, cwd=clone, env=environ(clone), capture_output=True, text=True, timeout=GUARD)


def test_every_line_is_tried_here_or_elsewhere() -> None:
    tried = [*ELSEWHERE, "export ", ".venv/bin/gateway ", "curl "]
    assert [line for line in COMMANDS if not line.startswith(tuple(tried))] == []
    assert len(BLOCKS) == 6


def test_check_explain_and_whatif_work_with_a_key_and_nothing_else(clone: Path) -> None:
    keys = block_with("export ").splitlines()[0]
    done = run(f"{keys}\n{block_with('gateway explain')}", clone)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nok\n" in done.stdout
    assert "support-bot" in done.stdout
    assert "trace: a sample of real traffic; fleet: real" in done.stdout


def test_a_key_is_enough_to_serve(clone: Path) -> None:
    keys, check, serve = block_with("export ").splitlines()
    assert run(f"{keys}\n{check}", clone).stdout.endswith("\nok\n")
    with serving(f"{keys}\nexec {serve}", clone) as log:
        assert "endpoints in use (2): novita/fp8, deepinfra/fp4" in log


async def test_a_recording_of_ones_own_traffic_is_replayed(clone: Path) -> None:
    """With a gateway.yaml, so that its host is one of this machine's. The request is README's own."""
    needs("curl")
    serve, replay = block_with("--record").splitlines()
    async with ScriptedHost(streams(chunks("Hello there"))) as host:
        write_config(clone, {"own/host": host.url})
        port = free_port()
        with serving(f"exec {serve.partition('#')[0]} --port {port}", clone):
            request = block_with("curl ").replace("127.0.0.1:8080", f"127.0.0.1:{port}")
            answer = await asyncio.to_thread(run, request, clone)
        assert '"content":"Hello"' in answer.stdout
        assert "data: [DONE]" in answer.stdout
    done = run(replay, clone)
    assert done.returncode == 0
    assert "0 of 1 endpoints in the ledger have 20 streamed answers; using `--fleet real` instead" in done.stderr
    assert done.stdout.startswith("1 requests, ")
    assert "support-bot" in done.stdout


@contextmanager
def serving(script: str, clone: Path) -> Iterator[str]:
    """A gateway in the background, from its start to a Ctrl-C; gives its log up to the last line of the start."""
    script = script if "--port" in script else f"{script} --port 0"
    command = ["sh", "-eu", "-c", script]
    with subprocess.Popen(command, cwd=clone, env=environ(clone), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            log = ""
            for line in process.stderr:
                log += line
                if "default policy" in line:
                    break
            assert "listening on http://127.0.0.1:" in log
            yield log
        finally:
            process.terminate()
            process.wait(GUARD)


def test_make_fails_when_the_demo_does(tmp_path: Path) -> None:
    """In a folder with a `.venv` that is up to date, and whose command says why it cannot start. make adds its line."""
    makefile(tmp_path)
    script = tmp_path / ".venv/bin/gateway"
    script.write_text("#!/bin/sh\necho 'gateway: cannot listen on 127.0.0.1:8080' >&2\nexit 2\n")
    script.chmod(0o755)
    done = run("make demo", tmp_path)
    message, _, of_make = done.stderr.partition("\n")
    assert (done.returncode, done.stdout, message) == (2, "", "gateway: cannot listen on 127.0.0.1:8080")
    assert of_make.startswith("make: ***")


def test_make_names_the_python_that_it_needs_in_one_line(tmp_path: Path) -> None:
    makefile(tmp_path)
    shutil.rmtree(tmp_path / ".venv")
    done = run("make demo PYTHON=/bin/false", tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r".*Python 3\.11 or newer with venv is needed, and `/bin/false` is not.*\n", done.stderr)


def makefile(folder: Path) -> None:
    needs("make")
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.lock", "requirements-build.lock", "pyproject.toml"):
        (folder / name).touch()
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("bin/python", ".runtime"):
        (folder / ".venv" / name).touch()
