"""The way of one request, as docs/architecture.md lists it, is the way that a real request takes."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gateway.compiled import BUILD
from tests.source import PACKAGE
from tests.support.gateway import in_process
from tests.support.host import ScriptedHost, answers, completion

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
STEP = re.compile(r"^\d+\. `(?P<file>[\w/]+\.py)` `(?P<function>[\w.]+)`: ", re.MULTILINE)
MOST_STEPS = 25

Step = tuple[str, str]  # file in the package, qualified name of the function


def documented() -> list[Step]:
    chapter = DOCUMENT.read_text().partition("## The path of one request")[2].partition("\n## ")[0]
    return [(found["file"], found["function"]) for found in STEP.finditer(chapter)]


@contextmanager
def traced() -> Iterator[list[Step]]:
    """The functions of the gateway in the order of their first call."""
    steps: dict[Step, None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)):
            steps.setdefault((str(Path(code.co_filename).relative_to(PACKAGE)), code.co_qualname))

    called: list[Step] = []
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)
        called += steps


@pytest.mark.skipif(BUILD == "compiled", reason="compiled functions have no frames")
async def test_a_request_takes_the_documented_way(tmp_path: Path) -> None:
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hello"}]}
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        in_process(tmp_path, "direct", {"own/fp8": host.url}) as running,
    ):
        await running.client.post("/v1/chat/completions", json=body)  # opens the connection to the host
        with traced() as called:
            response = await running.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    steps = documented()
    assert [step for step in steps if step not in called] == []
    assert steps == sorted(steps, key=called.index)


def test_the_way_is_short() -> None:
    assert 15 < len(documented()) <= MOST_STEPS
