"""What outlives the drain is ended: booked, and its client told; nothing fails over."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import build
from gateway.config import load
from gateway.configuration import configured
from gateway.server.frontend import FRONTEND
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import read
from gateway.telemetry.metrics import prepare_folder
from gateway.types.sink import Inbound
from tests.proxy.routed import ROLE, WORD, says, stalls
from tests.proxy.world import GOOD, Make, Written
from tests.support.gateway import NO_STORE, write_config
from tests.support.host import ScriptedHost


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_waits_gets_an_error(stream: bool, make: Make) -> None:
    async with ScriptedHost(stalls) as first, ScriptedHost(GOOD) as second:
        world = make(first, second)
        sink = world.send(stream)
        await first.until(lambda: len(first.requests) == 1)
        world.proxy.close()
        assert (sink.status, json.loads(sink.body)["error"]["code"]) == (503, "shutting_down")
        assert (b"retry-after", b"1") in sink.headers
        world.transport.close()
        await first.until(lambda: first.gone == 1)
        (row,) = world.rows()
        assert (row.outcome, row.client_status, row.last, row.cost > 0) == ("cancelled", 503, True, True)
        assert not second.requests
        assert len(world.wheel) == 0


async def test_a_stream_ends_loudly(make: Make) -> None:
    async with ScriptedHost(says(ROLE, WORD, then="stall")) as host:
        world = make(host)
        sink, _ = await world.streaming()
        world.proxy.close()
        assert b"the gateway is shutting down" in sink.body
        assert b'"finish_reason":"error"' in sink.body
        assert b"[DONE]" not in sink.body
        assert [row.outcome for row in world.rows()] == ["cancelled"]


async def test_a_client_that_takes_nothing_is_cut_off(make: Make) -> None:
    async with ScriptedHost(says(ROLE, WORD, then="stall")) as host:
        world = make(host)
        sink, source = await world.streaming()
        source.pause()
        world.proxy.close()
        assert sink.aborted
        assert b"shutting down" not in sink.body


async def test_what_comes_too_late_sends_nothing(make: Make) -> None:
    async with ScriptedHost(GOOD) as host:
        world = make(host)
        sink = world.send(cache="on")  # the response cache answers later
        world.proxy.close()
        await sink.ended.wait()
        assert sink.status == 503
        assert [(row.outcome, row.attempt) for row in world.rows()] == [("cancelled", 0)]
        assert not host.requests


async def test_a_worker_ends_its_exchanges_before_its_connections(tmp_path: Path) -> None:
    async with ScriptedHost(stalls) as first, ScriptedHost(stalls) as second:
        config = write_config(tmp_path, {"a/fp8": first.url, "b/fp8": second.url})
        folder = StateFolder(tmp_path / "state")
        prepare_folder(folder.metrics)
        app = build(configured(replace(load(config, {}), state=folder.path)), folder.path, NO_STORE)
        sink = Written()
        body = json.dumps({"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        async with app.router.lifespan_context(app) as state:
            assert state is not None
            state[FRONTEND].current.hot[b"/v1/chat/completions"](Inbound({}, body, 0.0), sink)
            await first.until(lambda: len(first.requests) + len(second.requests) == 1)
        assert json.loads(sink.body)["error"]["code"] == "shutting_down"
        assert [(row.outcome, row.last) for row in read(folder.ledger)] == [("cancelled", True)]
