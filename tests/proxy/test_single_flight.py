"""Identical requests under way share one call to a host: each gets the answer in its own form, and one pays."""

import asyncio
import json
from typing import Any

import pytest

from gateway.proxy import flight as module
from tests.proxy.routed import DONE, ROLE, WORD, Routed, chunk, content, payloads, until
from tests.proxy.world import MODEL, POLICY, Make, World, Written
from tests.support.host import Out, Received, ScriptedHost, answers, completion, usage

USED = usage(prompt=100, completion=5)
COUNTED = chunk({}, "stop", usage=USED)
MORE = chunk({"content": " world"})


class Slow:
    """A host that sends a part of a stream, and the next one when it is let. `then` is how it ends."""

    def __init__(self, *parts: bytes, then: str = "end") -> None:
        self.parts = parts
        self.then = then
        self.go = asyncio.Semaphore(0)

    async def __call__(self, _: Received, out: Out) -> None:
        await out.head(200)
        for part in self.parts:
            await self.go.acquire()
            await out.send(part)
        await self.go.acquire()
        if self.then == "cut":
            out.reset()
        elif self.then == "stall":
            await out.stall()
        else:
            await out.end()

    def let(self, count: int = 1) -> None:
        for _ in range(count):
            self.go.release()


class Gated:
    """A host that gives one whole answer when it is let."""

    def __init__(self, status: int = 200, body: Any = None) -> None:
        self.go = asyncio.Event()
        self.script = answers(status, body or completion("Hello world", used=USED))

    async def __call__(self, request: Received, out: Out) -> None:
        await self.go.wait()
        await self.script(request, out)


def whole_stream() -> Slow:
    return Slow(ROLE + WORD, MORE, COUNTED + DONE)


def head(sink: Written) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sink.headers}


def text(sink: Written) -> str:
    body = sink.body.decode()
    if head(sink)["content-type"].startswith("text/event-stream"):
        assert body.endswith("data: [DONE]\n\n")
        return content(body)
    return str(json.loads(body)["choices"][0]["message"]["content"])


def paid(sink: Written) -> Any:
    """The cost in the answer's usage."""
    if head(sink)["content-type"].startswith("text/event-stream"):
        return payloads(sink.body.decode())[-1]["usage"]["cost"]
    return json.loads(sink.body)["usage"]["cost"]


async def ended(*sinks: Written) -> None:
    async with asyncio.timeout(60):
        for sink in sinks:
            await sink.ended.wait()


async def joined(world: World, *, first: bool, **known: Any) -> Written:
    """A first request under way: streamed once its first word has come."""
    sink = world.send(first, "on", **known)
    await until(lambda: world.fleet.states["a"].in_flight == 1)
    return sink


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
async def test_one_call_answers_both_in_their_own_form(first: bool, second: bool, make: Make) -> None:
    script = whole_stream() if first else Gated()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=first)
        if isinstance(script, Slow):
            script.let()
            await until(lambda: b"Hello" in one.body)
        two = world.send(second, "on")
        if isinstance(script, Slow):
            assert (b"Hello" in two.body) == second, "what has come is there at once"
            script.let(3)
        else:
            script.go.set()
        await ended(one, two)
        assert [text(one), text(two)] == ["Hello world"] * 2
        assert len(host.requests) == 1
        about = head(two)
        assert (about["x-gateway-cache"], about["x-gateway-attempts"]) == ("joined", "0")
        assert about["x-gateway-endpoint"] == "a"
        assert head(one)["x-gateway-cache"] == "miss"
        ids = {one["id"] for one in payloads(two.body.decode())} if second else {json.loads(two.body)["id"]}
        assert ids == {about["x-generation-id"]}
        assert paid(one) > 0
        assert paid(two) == 0
        rows = {row.exchange: row for row in world.rows()}
        mine, its = rows["gen-2"], rows["gen-1"]
        assert (mine.outcome, mine.cache, mine.cost, mine.last, mine.client_status) == (
            "cached",
            "joined",
            0,
            True,
            200,
        )
        assert mine.saved == its.cost > 0
        assert (its.outcome, its.cache, its.last) == ("ok", "miss", True)


async def test_the_first_client_leaves_and_the_others_are_served(make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True)
        script.let()
        await until(lambda: b"Hello" in one.body)
        two, three = world.send(True, "on"), world.send(False, "on")
        assert one.source is not None
        one.source.gone()
        had = one.body
        script.let(3)
        await ended(two, three)
        assert [text(two), text(three)] == ["Hello world"] * 2
        assert (one.body, host.gone, len(host.requests)) == (had, 0, 1)


async def test_the_last_one_that_leaves_cancels_the_call(make: Make) -> None:
    script = Slow(ROLE + WORD, then="stall")
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True)
        script.let()
        await until(lambda: b"Hello" in one.body)
        two = world.send(True, "on")
        for sink in (one, two):
            assert sink.source is not None
            assert host.gone == 0
            sink.source.gone()
        await host.until(lambda: host.gone == 1)
        assert {(row.outcome, row.client_status, row.cache) for row in world.rows()} == {
            ("cancelled", 499, "miss"),
            ("cancelled", 499, "joined"),
        }


async def test_a_joiner_that_leaves_does_not_disturb(make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True)
        two = world.send(True, "on")
        assert two.source is not None
        two.source.gone()
        script.let(4)
        await ended(one)
        assert (text(one), two.body, host.gone) == ("Hello world", b"", 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_is_everybodys(stream: bool, make: Make) -> None:
    script = Gated(500, {"error": {"message": "broken"}})
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True)
        two = world.send(stream, "on")
        script.go.set()
        await ended(one, two)
        assert (two.status, one.status) == (503, 503)
        assert json.loads(two.body) == json.loads(one.body)
        assert head(two)["x-gateway-cache"] == "joined"
        (mine,) = [row for row in world.rows() if row.exchange == "gen-2"]
        assert (mine.outcome, mine.client_status, mine.cost, mine.last) == ("server", 503, 0, True)
        again = world.send(False, "on")
        await ended(again)
        assert len(host.requests) == 2, "nobody joins what is over"


async def test_a_stream_that_breaks_ends_with_an_error_and_whole_requests_start_anew(make: Make) -> None:
    broken = Slow(ROLE + WORD, then="cut")
    script = answers(200, completion("Anew", used=USED))
    async with ScriptedHost([broken, script]) as host:
        world = make(host)
        one = await joined(world, first=True)
        broken.let()
        await until(lambda: b"Hello" in one.body)
        two, three, four = world.send(True, "on"), world.send(False, "on"), world.send(False, "on")
        broken.let()
        await ended(one, two, three, four)
        error = payloads(two.body.decode())[-1]
        assert error["error"]["code"] == "cut"
        assert error["id"] == "gen-2"
        assert not two.body.endswith(DONE)
        assert [text(three), text(four)] == ["Anew", "Anew"]
        assert [head(one)["x-gateway-cache"] for one in (three, four)] == ["miss", "joined"]
        assert len(host.requests) == 2
        assert sum(row.last for row in world.rows()) == 4


@pytest.mark.parametrize("slow", [0, 1])
async def test_a_slow_client_holds_back_no_other(slow: int, make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        sinks = [await joined(world, first=True), world.send(True, "on"), world.send(True, "on")]
        source = sinks[slow].source
        assert source is not None
        source.pause()
        script.let(4)
        await ended(*[one for place, one in enumerate(sinks) if place != slow])
        if slow:
            assert sinks[slow].body == b""
            source.resume()
        await ended(sinks[slow])
        assert [text(one) for one in sinks] == ["Hello world"] * 3
        assert len(host.requests) == 1


@pytest.mark.parametrize("slow", [0, 1])
async def test_one_that_reads_nothing_is_cut_off(slow: int, make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        sinks = [await joined(world, first=True), world.send(True, "on")]
        script.let()
        await until(lambda: b"Hello" in sinks[0].body)
        source = sinks[slow].source
        assert source is not None
        source.pause()
        timers, world.wheel.timers = world.wheel.timers, []
        timers[-1].fire()
        assert sinks[slow].aborted
        script.let(3)
        await ended(*sinks)
        assert text(sinks[1 - slow]) == "Hello world"
        assert host.gone == 0


async def test_a_paused_first_client_no_longer_holds_the_host_once_another_joins(make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True)
        script.let()
        await until(lambda: b"Hello" in one.body)
        assert one.source is not None
        one.source.pause()
        two = world.send(True, "on")
        script.let(3)
        await ended(two)
        assert text(two) == "Hello world"
        assert len(host.requests) == 1


async def test_a_large_answer_is_not_kept_and_no_request_joins_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is up to date has all of it; one that was slow is cut off; a late one has a call of its own."""
    monkeypatch.setattr(module, "LARGEST_KEPT", 800)
    large = chunk({"content": "x" * 600})
    script = Slow(ROLE + WORD, large, MORE, COUNTED + DONE)
    async with ScriptedHost([script, answers(200, completion("Own"))]) as host:
        world = make(host)
        one = await joined(world, first=True)
        two, slow = world.send(True, "on"), world.send(True, "on")
        assert slow.source is not None
        slow.source.pause()
        script.let()
        await until(lambda: b"Hello" in two.body)
        script.let()
        await until(lambda: b"xxx" in two.body)
        late = world.send(False, "on")
        await ended(late)
        assert (text(late), head(late)["x-gateway-cache"]) == ("Own", "miss")
        slow.source.resume()
        assert slow.aborted
        script.let(3)
        await ended(one, two)
        assert [text(sink) for sink in (one, two)] == ["Hello" + "x" * 600 + " world"] * 2
        assert len(host.requests) == 2


@pytest.mark.parametrize(
    "other",
    [{"tenant": "other"}, {"surface": "openrouter"}, {"thinking": True}, {"cache": "refresh"}, {"cache": "no-store"}],
)
async def test_what_differs_does_not_share(other: dict[str, Any], make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=False)
        two = world.send(**{"cache": "on", **other})
        await host.until(lambda: len(host.requests) == 2)
        script.go.set()
        await ended(one, two)
        assert head(two)["x-gateway-cache"] != "joined"


async def test_without_caching_nothing_is_shared(make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as host:
        world = make(host)
        sinks = [world.send(), world.send()]
        await host.until(lambda: len(host.requests) == 2)
        script.go.set()
        await ended(*sinks)


async def test_a_joiner_that_waits_is_kept_alive(make: Make) -> None:
    script = Gated()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=False)
        two = world.send(True, "on")
        timers, world.wheel.timers = world.wheel.timers, []
        timers[-1].fire()
        assert two.body == b": keep-alive\n\n"
        script.go.set()
        await ended(one, two)
        assert text(two) == "Hello world"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
async def test_usage_comes_where_each_wants_it(first: bool, second: bool, make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True, include_usage=first)
        two = world.send(True, "on", include_usage=second)
        script.let(4)
        await ended(one, two)
        *_, before, last = payloads(two.body.decode())
        assert last["usage"]["prompt_tokens"] == 100
        assert (last["choices"] == []) == second
        assert ("usage" in before) is False
        assert sum(len(one["choices"]) and one["choices"][0]["finish_reason"] == "stop" for one in (before, last)) == 1
        assert len(host.requests) == 1


async def test_openrouters_clients_see_no_tokens_and_a_hit(make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True, surface="openrouter")
        two = world.send(True, "on", surface="openrouter")
        script.let(4)
        await ended(one, two)
        assert head(two)["x-openrouter-cache-status"] == "HIT"
        last = payloads(two.body.decode())[-1]["usage"]
        assert (last["cost"], last["prompt_tokens"], last["completion_tokens"]) == (0, 0, 0)
        assert text(two) == "Hello world"


async def test_a_stop_ends_all_of_them_once(make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True)
        script.let()
        await until(lambda: b"Hello" in one.body)
        two, three = world.send(True, "on"), world.send(False, "on")
        world.proxy.close()
        await ended(one, two, three)
        assert payloads(two.body.decode())[-1]["error"]["code"] == "shutting_down"
        assert three.status == 503
        assert sorted(row.exchange for row in world.rows() if row.last) == ["gen-1", "gen-2", "gen-3"]
        assert host.errors == []


async def test_many_join_and_each_is_counted_once(make: Make) -> None:
    script = whole_stream()
    async with ScriptedHost(script) as host:
        world = make(host)
        one = await joined(world, first=True)
        script.let()
        others = [world.send(bool(number % 2), "on") for number in range(50)]
        script.let(3)
        await ended(one, *others)
        assert {text(sink) for sink in others} == {"Hello world"}
        assert len(host.requests) == 1
        assert sum(row.cost > 0 for row in world.rows()) == 1
        assert [row.cache for row in world.rows()].count("joined") == 50
        assert (MODEL, POLICY.name) == (world.rows()[0].model, world.rows()[0].policy)


async def test_over_a_real_connection(routed: Routed) -> None:
    """The first client closes its connection in the middle, the second has all of the answer."""
    script = whole_stream()
    async with ScriptedHost(script) as host, routed(host) as running:
        headers = {"x-gateway-cache": "on"}
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        path = "/v1/chat/completions"
        script.let()
        async with running.client.stream("POST", path, json=body, headers=headers) as first:
            arriving = first.aiter_bytes()
            assert b"Hello" in await anext(arriving)
            second = asyncio.ensure_future(running.client.post(path, json=body, headers=headers))
            async with asyncio.timeout(60):
                while await running.metric("gateway_in_flight") < 2:
                    pass
        script.let(3)
        answer = await second
        assert (answer.headers["x-gateway-cache"], content(answer.text)) == ("joined", "Hello world")
        assert (len(host.requests), host.gone) == (1, 0)
        assert await running.metric("gateway_cache_requests_total", result="joined") == 1
