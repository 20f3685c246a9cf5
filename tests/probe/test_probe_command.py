"""`gateway probe` against real connections: what it prints, what it books, and how faults show."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.config import load
from gateway.errors import ConfigError
from gateway.probe import pinned
from gateway.probe.probe_command import ProbeOptions, ProbeReport, probed, targets
from gateway.report import probed as table
from gateway.sim.demofleet import gateway_config
from gateway.sim.flaws import Flaws
from gateway.sim.host import serving
from gateway.telemetry.ledger import read
from gateway.types import PICO, PROBE, Attempts, Timeouts
from tests.probe.lab import STEADY
from tests.support.gateway import write_config
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, streams
from tests.support.ports import free_port

FAST = Timeouts(connect=1.0, gap=0.2, total=1.0, stream=1.0)
Ended = tuple[int, str, str]


async def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Runs `gateway ARGUMENTS` in a thread, so that hosts in this loop can answer: code, output, errors."""

    def run() -> int:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0)

    code = await asyncio.to_thread(run)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


async def test_a_sound_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(STEADY, speed=0) as addresses:
        config = tmp_path / "gateway.yaml"
        config.write_text(gateway_config(addresses))
        arguments = ("--config", str(config), "--state", str(tmp_path / "state"), "--runs", "3", "--context")
        code, out, _ = await command(capsys, "probe", *arguments)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    for host in STEADY:
        assert host.id in out
    assert out.count("0 / 3") == len(STEADY)
    rows = list(read(tmp_path / "state" / "ledger"))
    assert {row.tenant for row in rows} == {PROBE}
    assert f"${sum(row.cost for row in rows) / PICO:.4f} in all" in out


async def test_mistakes_are_named_and_json_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = STEADY[1].id
    async with serving(STEADY, speed=0, flaws={worse: Flaws(tools=1.0)}) as addresses:
        config = tmp_path / "gateway.yaml"
        config.write_text(gateway_config(addresses))
        arguments = ("--config", str(config), "--state", str(tmp_path / "state"), "--endpoint", worse)
        code, out, _ = await command(capsys, "probe", *arguments)
        as_json = json.loads((await command(capsys, "probe", *arguments, "--json"))[1])
        speed_only = json.loads((await command(capsys, "probe", *arguments, "--json", "--no-canaries"))[1])
    assert code == 1
    assert f"tool_call: {worse}: the call was not_json" in out
    assert list(as_json) == [worse]
    assert as_json[worse]["canaries"]["tool_call"] | {"last": 0} == {
        "passed": 0,
        "of": 1,
        "last": 0,
        "drift": False,
        "mistake": "the call was not_json",
    }
    assert speed_only[worse]["canaries"] == {}
    assert speed_only[worse]["ttft"]["n"] == 1


async def cut(_: Received, out: Out) -> None:
    await out.head(200, {"content-type": "text/event-stream"})
    await out.send(b'data: {"choices": [{"index": 0, "delta": {"content": "Once"}}]}\n\n')
    out.cut()


async def silent(_: Received, out: Out) -> None:
    await out.head(200, {"content-type": "text/event-stream"})
    await out.stall()


async def endless(_: Received, out: Out) -> None:
    await out.head(200, {"content-type": "text/event-stream"})
    word = json.dumps({"choices": [{"index": 0, "delta": {"content": "more " * 1_000}}]})
    for _ in range(10_000):
        await out.send(f"data: {word}\n\n".encode())


async def one_run(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> ProbeReport:
    monkeypatch.setattr(pinned, "_ATTEMPTS", Attempts(max=1, within=1.0, retries=0))
    monkeypatch.setattr(pinned, "_TIMEOUTS", FAST)
    pinned.pinned_policy.cache_clear()
    settings = replace(load(write_config(tmp_path, {"a/fp8": url}), {}), state=tmp_path / "state")
    try:
        return await probed(settings, ProbeOptions(), lambda _: None)
    finally:
        pinned.pinned_policy.cache_clear()


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (answers(500, {"error": {"message": "no"}}), "server"),
        (answers(429, {"error": {"message": "no"}}), "rate_limited"),
        (answers(200, b"<html>"), "garbage"),
        (cut, "cut"),
        (silent, "timeout_first_token"),
        (endless, "cancelled"),
        (streams(chunks("Once upon", finish="insufficient_system_resource")), "unclean"),
    ],
)
async def test_a_fault_is_an_error_of_the_run_and_no_canary_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, outcome: str
) -> None:
    async with ScriptedHost(script) as host:
        report = await one_run(tmp_path, host.url, monkeypatch)
    record = report.records["a/fp8"]
    assert [run.outcome for run in record.runs] == [outcome]
    assert (record.canaries, len(host.requests)) == ({}, 1)
    assert f"error: a/fp8: {outcome} after" in table(report)
    [row] = read(tmp_path / "state" / "ledger")
    assert (row.outcome, row.cost) == (outcome, sum(report.costs.values()))


async def test_a_host_that_refuses_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = await one_run(tmp_path, f"http://127.0.0.1:{free_port()}", monkeypatch)
    assert [run.outcome for run in report.records["a/fp8"].runs] == ["refused"]


async def test_an_endpoint_without_a_price_is_left_out(tmp_path: Path) -> None:
    free: dict[str, Any] = {"status": "self_hosted", "price": {"input": 0, "output": 0}}
    async with ScriptedHost(answers(500, {})) as host:
        settings = load(write_config(tmp_path, {"a/fp8": host.url}, free), {})
        report = await probed(replace(settings, state=tmp_path / "state"), ProbeOptions(), lambda _: None)
    assert host.requests == []
    assert (report.records, report.left_out) == ({}, ["a/fp8"])
    assert "left out: a/fp8: has no price" in table(report)


@pytest.mark.parametrize(
    ("hosts", "wanted", "why"),
    [
        ({"a/fp8": "http://127.0.0.1:1"}, ["b"], "--endpoint b: is not in use; `gateway check` lists the endpoints"),
        ({}, [], "no endpoint can be used; `gateway check` says what is missing"),
    ],
)
def test_a_mistake_of_the_user(tmp_path: Path, hosts: dict[str, str], wanted: Sequence[str], why: str) -> None:
    settings = load(write_config(tmp_path, hosts), {})
    with pytest.raises(ConfigError, match=why):
        targets(settings, wanted)
