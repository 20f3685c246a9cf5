"""The page in a real browser: its script runs, the rows are there, and nothing is complained about.

The page's routes are Starlette's over either sink, so one is enough.
"""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.page.data import until
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, answers, completion

CHROMIUM = shutil.which("chromium")
GUARD = 60.0  # seconds
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)

pytestmark = [DIRECT_ONLY, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")]


async def rendered(url: str, profile: Path) -> tuple[str, list[str]]:
    """The document after its script ran for 5 s of the browser's own time, and what the console said."""
    options = (*QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--enable-logging=stderr")
    browser = await asyncio.create_subprocess_exec(
        str(CHROMIUM), *options, "--dump-dom", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(GUARD):
            out, errors = await browser.communicate()
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
    return out.decode(), [line for line in errors.decode(errors="replace").splitlines() if "CONSOLE" in line]


async def test_rows_figures_and_plan_are_there_after_the_script_ran(gateway: Gateway, tmp_path: Path) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url, "b/fp8": host.url}) as running,
    ):
        reply = await running.chat()
        document, complaints = await rendered(running.url, tmp_path / "profile")
    assert complaints == []
    for text in ("a/fp8", "b/fp8", "closed", "$0.25 in, $0.50 out", "100.0%", reply.headers["x-gateway-endpoint"]):
        assert f">{text}<" in document
    assert document.count('data-label="Throughput p50"') == 2
    assert reply.headers["x-generation-id"] in document
    assert "First choice" in document
    assert f"{running.url}/v1/chat/completions" in document
    assert 'data-state="live"' in document


async def test_before_the_first_request_it_says_what_to_do(gateway: Gateway, tmp_path: Path) -> None:
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        document, complaints = await rendered(running.url, tmp_path / "profile")
    assert complaints == []
    assert "No request has ended yet." in document
    assert ">Nothing yet.<" in document


async def test_markup_in_configuration_stays_text(gateway: Gateway, tmp_path: Path) -> None:
    """A file that is wrong is quoted in its problem: the quotation must not become part of the page."""
    bomb = "<img src=x onerror=document.title='owned'>"
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        (running.policies / "broken.yaml").write_text(f'name: "{bomb}"\n')
        await until(running, lambda shown: shown["policies"]["problems"])
        document, complaints = await rendered(running.url, tmp_path / "profile")
    assert complaints == []
    assert "&lt;img src=x" in document
    assert "<img src=x" not in document.replace(f'title="{bomb}', "")
    assert "broken.yaml:1:" in document
