"""Prices in a running gateway: without a restart, in the ledger, on the page, in the metrics, and every week."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import load
from gateway.errors import ConfigError
from gateway.prices import price_list
from gateway.prices.price_book import Moment, PriceBook, book_path, read_book, write_book
from gateway.prices.price_list import PriceList
from gateway.state.conditions import Conditions
from gateway.types import PICO
from tests.prices.recorded import NOW, catalogued, endpoint
from tests.proxy.routed import rows
from tests.support.gateway import DIRECT_ONLY, NO_STORE, Gateway, Running, write_config
from tests.support.host import Out, Received, ScriptedHost, answers, completion

BOOK = """\
synced: 2026-11-18T10:00:00Z
endpoints:
  {name}:
    changes:
      - {{at: 2026-11-01T00:00:00Z, source: "litellm 1.110.1", input: 2.0, output: 4.0}}
      - {{at: 2026-11-18T10:00:00Z, source: "litellm 1.110.2", input: {usd}, cached_input: 1.0, output: 10.0}}
    flags:
      - {{at: 2026-11-18T10:00:00Z, kind: jump, text: "x: input 5 -> 50"}}
"""
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}


def write(folder: Path, usd: float, name: str = "a/fp8") -> Path:
    path = folder / "prices.yaml"
    path.write_text(BOOK.format(name=name, usd=usd))
    return path


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


def shipped(folder: Path, url: str) -> Path:
    """A gateway.yaml that leaves the price of an endpoint of the catalogue to the catalogue."""
    path = folder / "gateway.yaml"
    endpoints = [{"id": "novita/fp8", "base_url": f"{url}/v1", "context": 4_000_000}]
    models = {"deepseek/deepseek-v3.2": {"endpoints": endpoints}}
    path.write_text(json.dumps({"models": models}))
    return path


def cost(running: Running) -> float:
    """The cost of the last attempt in the ledger, USD."""
    return rows(running)[-1].cost / PICO


# --- at the start and while it runs ------------------------------------------------------------------------------


@DIRECT_ONLY
async def test_an_edit_is_in_force_without_a_restart_and_a_request_keeps_its_price(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_list, "CHECK_EVERY", 0.01)
    go_on = asyncio.Event()

    async def slow(request: Received, out: Out) -> None:
        await go_on.wait()
        await answers(200, completion("Hi", used=USAGE))(request, out)

    async with ScriptedHost([answers(200, completion("Hi", used=USAGE)), slow, slow]) as host:
        state = tmp_path / "state"
        state.mkdir()
        write(state, 5.0, "novita/fp8")
        config = shipped(tmp_path, host.url)
        async with gateway({}, config=config, environ={"NOVITA_API_KEY": "k"}) as running:

            async def priced_at(usd: float) -> None:
                labels = {"endpoint": "novita/fp8", "kind": "input"}
                async with asyncio.timeout(60):
                    while await running.metric("gateway_price_usd_per_million_tokens", **labels) != usd:
                        await asyncio.sleep(0.01)

            await priced_at(5.0)
            assert (await running.chat()).status_code == 200
            assert cost(running) == pytest.approx(5.0)

            under_way = asyncio.create_task(running.chat())
            await host.until(lambda: len(host.requests) == 2)
            write(state, 6.0, "novita/fp8")
            await priced_at(6.0)
            go_on.set()
            assert (await under_way).json()["usage"]["cost"] == pytest.approx(5.0), "it was planned at this price"
            assert cost(running) == pytest.approx(5.0)
            assert (await running.chat()).status_code == 200
            assert cost(running) == pytest.approx(6.0)
            assert await running.metric("gateway_price_changes_total", endpoint="novita/fp8") == 1
            assert await running.metric("gateway_price_flag", endpoint="novita/fp8", kind="jump") == 1
            assert await running.metric("gateway_price_flag", endpoint="novita/fp8", kind="zero") == 0
            assert await running.metric("gateway_price_last_sync_timestamp_seconds") == 1_794_996_000

            (state / "prices.yaml").unlink()
            await priced_at(0.269)  # the catalogue's


async def test_a_wrong_edit_is_logged_once_and_the_prices_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(price_list, "CHECK_EVERY", 0.01)
    settings = catalogued(tmp_path, endpoint("a/fp8"))
    path = book_path(settings)
    path.parent.mkdir()
    write(path.parent, 5.0)
    prices = PriceList(settings)
    applied: list[float] = []
    watching = asyncio.create_task(prices.watch(lambda: applied.append(1), Conditions()))
    path.write_text("endpoints:\n  a/fp8: {changes: [{at: now, source: me, input: 1, output: 2}]}\n")
    await until(lambda: bool(prices.problems))
    assert prices.problems[0].startswith(f"{path}:2:26: is not a time")
    (held,) = prices.priced.models[0].endpoints
    assert held.price is not None
    assert held.price.input == 5.0
    write(path.parent, 7.0)
    await until(lambda: bool(applied))
    watching.cancel()
    assert prices.problems == ()
    assert [record.levelno for record in caplog.records if "not reloaded" in record.message] == [logging.ERROR]


def test_a_gateway_does_not_start_with_a_broken_file(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("a/fp8"))
    book_path(settings).parent.mkdir()
    book_path(settings).write_text("endpoint: {}\n")
    with pytest.raises(ConfigError, match=r"prices\.yaml:1:1: unknown key `endpoint`"):
        PriceList(settings)


def test_the_setting_names_another_file(tmp_path: Path) -> None:
    settings = catalogued(tmp_path, endpoint("a/fp8"), prices={"file": "prices/mine.yaml"})
    assert book_path(settings) == tmp_path / "prices" / "mine.yaml"


def test_a_price_in_gateway_yaml_wins(tmp_path: Path) -> None:
    settings = load(write_config(tmp_path, {"a/fp8": "http://h"}, state="state"), {})
    book_path(settings).parent.mkdir()
    write(book_path(settings).parent, 5.0)
    prices = PriceList(settings)
    (held,) = prices.priced.models[0].endpoints
    assert held.price is not None
    assert held.price.input == 0.25
    assert prices.history(held).changes == ()
    assert len(prices.history(held).flags) == 1


# --- the page ----------------------------------------------------------------------------------------------------


@DIRECT_ONLY
async def test_the_page_has_the_history_from_the_catalogue_on(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    write(tmp_path / "state", 5.0, "novita/fp8")
    config = shipped(tmp_path, "http://127.0.0.1:1")
    async with gateway({}, config=config, environ={"NOVITA_API_KEY": "k"}) as running:
        answer = await running.client.get("/page/prices.json?model=deepseek/deepseek-v3.2")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        found = answer.json()
        assert found["last_sync"] == 1_794_996_000
        novita = found["endpoints"]["novita/fp8"]
        assert [(one["source"], one["input"]) for one in novita["changes"]] == [
            ("catalogue", 0.269),
            ("litellm 1.110.1", 2.0),
            ("litellm 1.110.2", 5.0),
        ]
        assert novita["changes"][1]["cached_input"] is None
        assert [flag["kind"] for flag in novita["flags"]] == ["jump"]
        assert found["endpoints"]["parasail"] == {"changes": [], "flags": []}
        assert (await running.client.get("/page/prices.json")).json() == found
        assert (await running.client.get("/page/prices.json?model=deepseek-v3.2")).json() == found
        assert (await running.client.get("/page/prices.json?model=nobody/nothing")).status_code == 404


# --- every week --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "stale"), [(None, True), (price_list.WEEK, True), (price_list.WEEK - 1, False)])
def test_a_sync_is_made_when_a_week_has_passed(tmp_path: Path, age: float | None, stale: bool) -> None:
    settings = catalogued(tmp_path, endpoint("a/fp8"))
    book_path(settings).parent.mkdir()
    if age is not None:
        write_book(book_path(settings), PriceBook(Moment(NOW - age)))
    assert PriceList(settings).stale(NOW) is stale


@DIRECT_ONLY
async def test_the_setting_starts_the_weekly_sync(gateway: Gateway, tmp_path: Path) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}, prices={"sync": "litellm"}) as running:
        book = running.folder / "prices.yaml"
        await until(book.exists)
        async with asyncio.timeout(60):
            while not await running.metric("gateway_price_last_sync_timestamp_seconds"):
                await asyncio.sleep(0.01)


def test_a_weekly_sync_writes_the_file_and_logs_new_flags_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fields = {"provider": "deepinfra", "model": "deepseek-ai/DeepSeek-V3.2", "price": {"input": 0.3, "output": 0.4}}
    settings = catalogued(tmp_path, endpoint("d/fp4", **fields), prices={"sync": "litellm"})
    prices = PriceList(settings)
    prices.sync()
    assert read_book(prices.path).endpoints["d/fp4"].changes[0].input == 0.26
    assert "price sync: 1 endpoints compared, taken: d/fp4" in caplog.text


def test_a_weekly_sync_that_cannot_write_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = catalogued(tmp_path, endpoint("a/fp8"), prices={"sync": "litellm", "file": "gateway.yaml/prices.yaml"})
    prices = PriceList(settings)
    prices.sync()
    assert "no price sync: " in caplog.text


# --- litellm stays out -------------------------------------------------------------------------------------------


def test_a_worker_without_an_endpoint_behind_litellm_never_imports_it(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"a/fp8": "http://127.0.0.1:1"}, prices={"sync": "litellm"})
    script = f"""
import sys
from pathlib import Path
from dataclasses import replace
from gateway.app import Worker
from gateway.config import load
from gateway.configuration import configured
from gateway.state.folder import StateFolder
state = Path({str(tmp_path / "state")!r})
configuration = configured(replace(load(Path({str(config)!r}), {{}}), state=state))
worker = Worker(configuration, StateFolder(state), {NO_STORE!r})
configuration.prices.sync()
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "gateway" in loaded
    assert {"litellm", "openai", "httpx", "pydantic", "botocore"}.isdisjoint(loaded)
    assert (tmp_path / "state" / "prices.yaml").exists()
