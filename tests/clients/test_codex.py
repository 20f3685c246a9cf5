"""Codex as it is installed, with the configuration that docs/api.md shows, and leave to run commands."""

import asyncio
import os
from pathlib import Path

from tests.clients.agents import DONE, THOUGHT, Agent, results
from tests.clients.environments import node_modules_with
from tests.clients.sdks import PINS
from tests.support.gateway import in_process
from tests.support.host import Json
from tests.support.programs import needs

ENDS_WITHIN = 90  # seconds
IMAGE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
CONFIG = """
model = "deepseek-v3.2"
model_provider = "gateway"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
analytics = {{ enabled = false }}
[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


def codex() -> Path:
    needs("npm")
    return node_modules_with("codex", *PINS["codex"]) / "node_modules" / ".bin" / "codex"


async def ran(command: Path, folder: Path, url: str, *arguments: str) -> str:
    home, work = folder / "home", folder / "work"
    home.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    (home / "config.toml").write_text(CONFIG.format(url=url))
    (work / "dot.png").write_bytes(IMAGE)
    process = await asyncio.create_subprocess_exec(
        *(str(command), "exec", "--skip-git-repo-check", *arguments),
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(home), "GATEWAY_KEY": "any"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), ENDS_WITHIN)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_codex_works_as_installed(tmp_path: Path) -> None:
    """A command, a picture, a tool in a namespace; then the session goes on."""
    calls: list[tuple[str, Json]] = [
        ("exec_command", {"cmd": "echo made > made.txt && cat made.txt"}),
        ("view_image", {"path": str(tmp_path / "work" / "dot.png")}),
        ("multi_agent_v1__close_agent", {"target": "nobody"}),
    ]
    command, settings = codex(), {"endpoint": {"supports": ["tools"]}}
    async with Agent(calls) as host, in_process(tmp_path, "direct", {"a/fp8": host.url}, **settings) as running:
        assert DONE in await ran(command, tmp_path, running.url, "do it")
        made, seen, closed = results(host.bodies[-1])
        assert "Output:\nmade" in made
        assert (tmp_path / "work" / "made.txt").read_text() == "made\n"
        assert seen == "[input_image: left out, the model reads text only]"
        assert "invalid agent id nobody" in closed, "the tool of the namespace was found"
        assert DONE in await ran(command, tmp_path, running.url, "resume", "--last", "and again")
    first, last = host.bodies[0], host.bodies[-1]
    names = {tool["function"]["name"] for tool in first["tools"]}
    assert names >= {"exec_command", "view_image", "multi_agent_v1__spawn_agent"}
    assert not any("web_search" in name for name in names)
    assert last["messages"][: len(first["messages"])] == first["messages"], "the prompt stays cached"
    assert len(results(last)) == 3
    assert host.bodies[1]["messages"][-2]["reasoning_content"] == THOUGHT, "its own thoughts come back"
