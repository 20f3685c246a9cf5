"""Claude Code as it is installed, with the environment that docs/api.md shows."""

import asyncio
import os
from pathlib import Path

from tests.clients.agents import DONE, SUBTASK, THOUGHT, Agent, results
from tests.clients.environments import node_modules_with
from tests.clients.sdks import PINS
from tests.support.gateway import in_process
from tests.support.host import Json
from tests.support.programs import needs

ENDS_WITHIN = 90  # seconds
KEY = "test-key-of-the-agent"


def claude() -> Path:
    needs("npm")
    return node_modules_with("claude-code", *PINS["claude-code"]) / "node_modules" / ".bin" / "claude"


async def ran(folder: Path, url: str, *arguments: str, key: str = KEY) -> tuple[int | None, str]:
    """How it ended, and what it printed."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    own = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": key, "ANTHROPIC_MODEL": "deepseek-v3.2"}
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "TMPDIR": str(folder)}  # tests stay on this machine
    process = await asyncio.create_subprocess_exec(
        *(str(claude()), "-p", *arguments),
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "home"), **quiet, **own},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), ENDS_WITHIN)
    return process.returncode, out.decode()


async def test_it_works_with_its_subagents(tmp_path: Path) -> None:
    """A command, then a subagent that asks for one of Claude's models; the session goes on when that is done."""
    calls: list[tuple[str, Json]] = [
        ("Bash", {"command": "echo made > made.txt && cat made.txt", "description": "Make a file"}),
        (
            "Agent",
            {"description": "Look", "prompt": f"{SUBTASK}: look", "subagent_type": "Explore", "model": "haiku"},
        ),
    ]
    settings: Json = {"endpoint": {"supports": ["tools"]}, "claude": {"haiku": "nitro"}, "default_policy": "floor"}
    async with Agent(calls) as host, in_process(tmp_path, "direct", {"a/fp8": host.url}, **settings) as running:
        status, out = await ran(tmp_path, running.url, "do it", "--allowedTools", "Bash,Agent")
        assert (status, DONE in out) == (0, True), out
        assert await running.metric("gateway_requests_total", policy="nitro") >= 1, "it asked for claude-haiku-..."
        assert await running.metric("gateway_requests_total", code="4xx") == 0
    made, _launched = results(host.bodies[-1])
    assert "made" in made
    assert (tmp_path / "work" / "made.txt").read_text() == "made\n"
    assert host.bodies[1]["messages"][2]["reasoning_content"] == THOUGHT, "its own thoughts come back"


async def test_a_wrong_key_is_reported_and_not_tried_again(tmp_path: Path) -> None:
    async with in_process(tmp_path, "direct", {}, environ={"GATEWAY_API_KEYS": f"app:{KEY}"}) as running:
        status, out = await ran(tmp_path, running.url, "do it", key="wrong")
    assert status == 1
    assert "API Error: 401" in out
