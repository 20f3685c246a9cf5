"""A reload while the gateway serves: everything changes together, and nothing under way is disturbed."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.config_source import ConfigSource
from gateway.config_watch import ConfigWatch
from gateway.configuration import Configuration, RejectedConfig
from gateway.configured_parts import destinations_of
from gateway.server.crash_loop import CrashLoop
from gateway.server.worker_server import WORKER
from tests.support.gateway import DIRECT_ONLY, Gateway, Running, write_config, write_policy
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

GOOD = answers(200, completion("hello"))


class Reloads:
    """What the supervisor does: reads the file of a running gateway again, and gives its worker the news."""

    def __init__(self, running: Running) -> None:
        """Before an edit of the file."""
        assert running.server is not None
        self._adopt = running.server.lifespan.state[WORKER].adopt
        source = ConfigSource(running.folder.parent / "gateway.yaml")
        self.watch = ConfigWatch(source, source.first(), running.folder)

    async def now(self) -> Configuration | RejectedConfig:
        self.watch.request_reload()
        news = await asyncio.to_thread(self.watch.poll)
        assert news is not None
        await self._adopt(news)
        return news


async def shown(running: Running, value: float, metric: str, **labels: str) -> None:
    """Waits until a scrape shows this value: metrics are published four times a second."""
    async with asyncio.timeout(60):
        while await running.metric(metric, **labels) != value:
            await asyncio.sleep(0.05)


async def cached_share(running: Running) -> float:
    """The share of the prompt that the worker expects in the cache of the host where it sent it before."""
    body = {"model": "deepseek-v3.2:kept", "messages": [{"role": "user", "content": "Hi"}]}
    return float((await running.client.post("/v1/explain", json=body)).json()["ranked"][0]["expected_cached_share"])


def edit(running: Running, hosts: dict[str, str], **settings: Any) -> Path:
    return write_config(running.folder.parent, hosts, policies=str(running.policies), **settings)


async def test_endpoints_come_and_go_and_a_stream_under_way_ends_at_its_host(gateway: Gateway) -> None:
    go = asyncio.Event()
    async with (
        ScriptedHost(streams(chunks("one two three")[1:], pause=go.wait)) as old,
        ScriptedHost(GOOD) as new,
        gateway({"old/fp8": old.url}) as running,
    ):
        body = {"model": "deepseek-v3.2", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        async with running.client.stream("POST", "/v1/chat/completions", json=body) as stream:
            edit(running, {"new/fp8": new.url})
            await Reloads(running).now()
            answer = await running.chat()
            assert answer.headers["x-gateway-endpoint"] == "new/fp8"
            go.set()
            text = "".join([piece async for piece in stream.aiter_text()])
        said = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        assert (
            "".join(one["choices"][0]["delta"].get("content") or "" for one in said if one["choices"])
            == "one two three"
        )
        assert text.rstrip().endswith("data: [DONE]")
        assert [one["id"] for one in (await running.client.get("/page/model.json")).json()["endpoints"]] == ["new/fp8"]


async def test_an_unchanged_host_keeps_its_connection_and_what_was_learned(gateway: Gateway) -> None:
    async with ScriptedHost(GOOD) as kept, ScriptedHost(GOOD) as new, gateway({"kept/fp8": kept.url}) as running:
        for _ in range(3):
            await running.chat()
        write_policy(running.policies, "kept", require={"only": ["kept/fp8"]})
        edit(running, {"kept/fp8": kept.url, "new/fp8": new.url})
        await Reloads(running).now()
        assert await cached_share(running) > 0
        for _ in range(3):
            assert (await running.chat(model="deepseek-v3.2:kept")).status_code == 200
        assert len(kept.requests) == 6
        assert kept.accepted == 1


async def test_keys_are_revoked_and_added_on_open_connections(gateway: Gateway) -> None:
    def keyed(key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    async with ScriptedHost(GOOD) as host:
        hosts = {"a/fp8": host.url}
        async with gateway(hosts, keys=[{"tenant": "web", "key": "first"}]) as running:
            assert (await running.chat(headers=keyed("first"))).status_code == 200
            edit(running, hosts, keys=[{"tenant": "web", "key": "second"}])
            reloads = Reloads(running)
            await reloads.now()
            assert (await running.chat(headers=keyed("first"))).status_code == 401
            assert (await running.client.get("/v1/models", headers=keyed("first"))).status_code == 401
            assert (await running.chat(headers=keyed("second"))).status_code == 200


async def test_a_bad_file_changes_nothing_and_is_said_everywhere(gateway: Gateway) -> None:
    async with ScriptedHost(GOOD) as host, gateway({"a/fp8": host.url}) as running:
        reloads = Reloads(running)
        config = running.folder.parent / "gateway.yaml"
        good = config.read_text()
        config.write_text(good + "max_body: lots\ndefault_policy: nitro\n")
        assert isinstance(await reloads.now(), RejectedConfig)
        ready = await running.client.get("/health/ready")
        assert ready.status_code == 200
        (problem,) = ready.json()["config_problems"]
        line = 1 + len(good.splitlines())
        assert problem.startswith(f"{config}:{line}:")
        await shown(running, 1, "gateway_config_reloads_total", result="rejected")
        await shown(running, 1, "gateway_config_file_invalid")
        assert (await running.client.get("/page/model.json")).json()["config_problems"] == [problem]
        assert (await running.chat()).headers["x-gateway-policy"] == "balanced"
        config.write_text(good + "default_policy: nitro\n")
        await reloads.now()
        assert (await running.client.get("/health/ready")).json()["config_problems"] == []
        await shown(running, 0, "gateway_config_file_invalid")
        await shown(running, 1, "gateway_config_reloads_total", result="ok")
        assert (await running.chat()).headers["x-gateway-policy"] == "nitro"


async def test_limits_of_the_front_change_together(gateway: Gateway) -> None:
    async with ScriptedHost(GOOD) as host, gateway({"a/fp8": host.url}) as running:
        origin = {"origin": "https://chat.example"}
        assert (await running.client.get("/v1/models", headers=origin)).status_code == 403
        edit(running, {"a/fp8": host.url}, cors=["https://chat.example"], max_body="64B", allowed_hosts=["inside"])
        await Reloads(running).now()
        answer = await running.client.get("/v1/models", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        assert (await running.client.get("/v1/models", headers={"host": "inside"})).status_code == 200
        assert (await running.chat("a long question " * 10)).status_code == 413


@DIRECT_ONLY  # uvicorn's own connections close after five idle seconds, also under a client that sends just then
async def test_reloads_under_load_fail_no_request(gateway: Gateway) -> None:
    async with ScriptedHost(GOOD) as a, ScriptedHost(GOOD) as b, gateway({"a/fp8": a.url}) as running:
        reloads = Reloads(running)
        done = asyncio.Event()

        async def ask() -> list[int]:
            statuses = []
            while not done.is_set():
                statuses.append((await running.chat()).status_code)
            return statuses

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for number in range(4):
            host, name = ((a, "a/fp8"), (b, "b/fp8"))[number % 2]
            edit(running, {name: host.url})
            await reloads.now()
            seen = len(host.requests)
            await host.until(lambda host=host, seen=seen: len(host.requests) > seen)  # type: ignore[misc]
        done.set()
        statuses = [status for task in asking for status in await task]
        assert set(statuses) == {200}
        assert a.requests
        assert b.requests


async def test_a_policy_and_the_setting_that_names_it_arrive_together(gateway: Gateway) -> None:
    async with ScriptedHost(GOOD) as host, gateway({"a/fp8": host.url}) as running:
        reloads = Reloads(running)
        edit(running, {"a/fp8": host.url}, default_policy="mine")
        (running.policies / "mine.yaml").write_text("name: mine\n")
        await reloads.now()
        assert (await running.chat()).headers["x-gateway-policy"] == "mine"


async def test_a_crash_loop_of_other_workers_is_shown(gateway: Gateway) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}) as running:
        assert running.server is not None
        adopt = running.server.lifespan.state[WORKER].adopt
        await adopt(CrashLoop("1 of 4 workers die again and again; the log has the cause"))
        ready = await running.client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["degraded"]["workers"].startswith("1 of 4 workers")
        await shown(running, 1, "gateway_part_failures_total", part="workers")
        await adopt(CrashLoop(""))
        assert "workers" not in (await running.client.get("/health/ready")).json()["degraded"]


@DIRECT_ONLY  # the frontend is the same
async def test_a_reload_under_way_when_the_drain_begins_takes_nothing_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes changes a ConfigMap and then replaces the pods. Trust stores of new hosts may take a while to load."""
    loading, loaded = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*arguments: Any) -> Any:
        loop.call_soon_threadsafe(loading.set)
        loaded.wait(60)
        return destinations_of(*arguments)

    async with ScriptedHost(GOOD) as host, gateway({"a/fp8": host.url}) as running:
        assert running.server is not None
        worker = running.server.lifespan.state[WORKER]
        reloads = Reloads(running)
        edit(running, {"a/fp8": host.url}, default_policy="floor")
        monkeypatch.setattr("gateway.app.destinations_of", slow)
        reload = asyncio.create_task(reloads.now())
        await loading.wait()
        worker.drain()
        worker.refuse()
        loaded.set()
        await reload
        assert (await running.chat()).status_code == 503
