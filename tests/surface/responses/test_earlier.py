"""Responses that refer to earlier ones, through whole gateways over one real store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.surface.responses.earlier import NO_EARLIER, record
from tests.api.test_responses import PATH, events, refused
from tests.support.gateway import Gateway, Running, in_process
from tests.support.host import Script, ScriptedHost, answers, chunks, completion, streams
from tests.support.valkey import running as valkey_running

Json = dict[str, Any]
MODEL: Json = {"model": "deepseek-v3.2"}
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
TOOLS: list[Json] = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
ENDPOINT: Json = {"supports": ["tools"]}
KEYS = [{"tenant": "web", "key": "w"}, {"tenant": "else", "key": "e"}]
Start = Callable[..., Any]


def calls() -> Script:
    whole = completion("", reasoning="I must ask.", finish="tool_calls")
    whole["choices"][0]["message"] |= {"content": None, "tool_calls": [CALL]}
    return answers(200, whole)


@pytest.fixture
async def start(tmp_path: Path, sink: str) -> AsyncIterator[Start]:
    """Starts a gateway over the store that all of them share; it is up when this returns."""
    with valkey_running(tmp_path / "valkey") as store:
        async with AsyncExitStack() as stack:

            async def started(host: ScriptedHost, name: str = "one", **settings: Any) -> Running:
                (tmp_path / name).mkdir()
                settings = {"keys": KEYS, "endpoint": ENDPOINT, "store": store, **settings}
                running = await stack.enter_async_context(
                    in_process(tmp_path / name, sink, {"a/fp8": host.url}, **settings)
                )
                running.client.headers["authorization"] = "Bearer w"
                await until_store_is(running, "up")
                return running

            yield started


async def until_store_is(running: Running, state: str) -> None:
    async with asyncio.timeout(60):
        while (await running.client.get("/health/ready")).json()["store"] != state:
            pass


async def ask(running: Running, said: Any = "Hi", **fields: Any) -> Json:
    answer = await running.client.post(PATH, json={**MODEL, "input": said, **fields})
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def sent(host: ScriptedHost) -> list[Json]:
    messages: list[Json] = host.requests[-1].json()["messages"]
    return messages


async def test_a_conversation_goes_on_by_the_name_of_its_last_response(start: Start) -> None:
    """Over two replicas, with a tool, over three turns."""
    async with ScriptedHost([calls(), answers(200, completion("Sunny.")), answers(200, completion("Yes."))]) as host:
        one, two = await start(host, "one"), await start(host, "two")
        first = await ask(one, "Weather?", tools=TOOLS, instructions="Be brief.")
        assert (first["store"], first["previous_response_id"]) == (True, None)
        output = [{"type": "function_call_output", "call_id": "call_1", "output": "sunny"}]
        second = await ask(two, output, previous_response_id=first["id"], tools=TOOLS)
        assert second["previous_response_id"] == first["id"]
        assert [message["role"] for message in sent(host)] == ["user", "assistant", "tool"]
        assert sent(host)[1]["reasoning_content"] == "I must ask."
        assert sent(host)[1]["tool_calls"] == [CALL]
        await ask(one, "Sure?", previous_response_id=second["id"])
        said = [(message["role"], message.get("content")) for message in sent(host)]
        assert said[2:] == [("tool", "sunny"), ("assistant", "Sunny."), ("user", "Sure?")]


async def test_a_conversation_has_as_many_branches_as_one_likes(start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host)
        first = await ask(running, "Hi")
        for word in ("left", "right"):
            await ask(running, word, previous_response_id=first["id"])
            assert [message["content"] for message in sent(host)] == ["Hi", "Hello.", word]


async def test_items_are_referred_to_by_their_ids(start: Start) -> None:
    """As the AI SDK does from the second turn on."""
    async with ScriptedHost([calls(), answers(200, completion("Sunny.")), answers(200, completion("Yes."))]) as host:
        one, two = await start(host, "one"), await start(host, "two")
        user = {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
        first = await ask(one, [user], tools=TOOLS)
        references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
        assert len(references) == 2
        result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        second = await ask(two, [user, *references, result], tools=TOOLS)
        assert sent(host)[1]["tool_calls"] == [CALL]
        assert sent(host)[1]["reasoning_content"] == "I must ask."
        more = [{"id": item["id"]} for item in second["output"]]  # its type may be left out
        await ask(one, [user, *references, result, *more, {"role": "user", "content": "Sure?"}], tools=TOOLS)
        assert [message["role"] for message in sent(host)] == ["user", "assistant", "tool", "assistant", "user"]
        listed = (await one.client.get(f"{PATH}/{second['id']}/input_items?order=asc")).json()["data"]
        assert [item["type"] for item in listed] == ["message", "reasoning", "function_call", "function_call_output"]


async def test_a_streamed_response_is_kept_before_its_client_hears_the_end(start: Start) -> None:
    async with ScriptedHost(streams(chunks("Hello you"))) as host:
        running = await start(host)
        for _ in range(5):
            answer = await running.client.post(PATH, json={**MODEL, "input": "Hi", "stream": True})
            last = events(answer)[-1]["response"]
            shown = await running.client.get(f"{PATH}/{last['id']}")
            assert shown.json() == last


async def test_what_is_kept_is_shown_and_forgotten(start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host)
        get, items = running.client.get, "/input_items"
        first = await ask(running, [{"role": "user", "content": str(number)} for number in range(3)])
        path = f"{PATH}/{first['id']}"
        assert (await get(path)).json() == first
        newest = (await get(path + items + "?limit=2")).json()
        assert [item["content"][0]["text"] for item in newest["data"]] == ["2", "1"]
        assert newest["has_more"]
        assert (newest["first_id"], newest["last_id"]) == tuple(item["id"] for item in newest["data"])
        rest = (await get(f"{path}{items}?after={newest['last_id']}")).json()
        assert ([item["content"][0]["text"] for item in rest["data"]], rest["has_more"]) == (["0"], False)
        for good, count in (("1", 1), ("100", 3)):
            assert len((await get(f"{path}{items}?limit={good}")).json()["data"]) == count
        for wrong in ("0", "101", "ten", "1" * 400):
            assert refused(await get(f"{path}{items}?limit={wrong}"))["param"] == "limit"

        assert refused(await get(f"{path}?stream=true"))["param"] == "stream"

        gone = await running.client.delete(path)
        assert gone.json() == {"id": first["id"], "object": "response", "deleted": True}
        for answer in (await get(path), await get(path + items), await running.client.delete(path)):
            assert refused(answer, 404)["message"] == f"Response with id '{first['id']}' not found."
        later = await running.client.post(PATH, json={**MODEL, "input": "Hi", "previous_response_id": first["id"]})
        assert refused(later)["code"] == "previous_response_not_found"


async def test_what_belongs_to_another_is_not_there(start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host)
        first = await ask(running)
        path, other = f"{PATH}/{first['id']}", {"authorization": "Bearer e"}
        client = running.client

        async def asks(**fields: Any) -> httpx.Response:
            return await client.post(PATH, json={**MODEL, "input": "Hi", **fields}, headers=other)

        refused(await client.get(path, headers=other), 404)
        refused(await client.get(f"{path}/input_items", headers=other), 404)
        refused(await client.delete(path, headers=other), 404)
        assert refused(await asks(previous_response_id=first["id"]))["param"] == "previous_response_id"
        reference = [{"type": "item_reference", "id": first["output"][0]["id"]}]
        assert "Item with id" in refused(await asks(input=reference), 404)["message"]
        refused(await client.get(path, headers={"authorization": "Bearer wrong"}), 401)
        assert (await client.get(path)).status_code == 200
        assert len(host.requests) == 1, "no host was asked"


@pytest.mark.parametrize("name", ["resp_", "item", "msg__0", "msg_x_99", "fc_\x00_0", "m" * 500, "a_b_c_d"])
async def test_names_that_are_none(name: str, start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host)
        asked = {**MODEL, "input": [{"type": "item_reference", "id": name}]}
        assert refused(await running.client.post(PATH, json=asked), 404)["param"] == "input"
        refused(await running.client.post(PATH, json={**MODEL, "input": "Hi", "previous_response_id": name}), 400)
        refused(await running.client.post(PATH, json={**MODEL, "input": "Hi", "previous_response_id": {"a": 1}}), 400)


async def test_one_request_refers_to_so_many_responses(start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host)
        many = [{"type": "item_reference", "id": f"msg_{number}_0"} for number in range(1_001)]
        told = refused(await running.client.post(PATH, json={**MODEL, "input": many}))
        assert (told["param"], "1000 responses" in told["message"]) == ("input", True)
        refused(await running.client.post(PATH, json={**MODEL, "input": many[1:]}), 404)


async def test_who_wants_nothing_kept_has_nothing_kept(start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host)
        ways: list[tuple[Json, dict[str, str]]] = [({"store": False}, {}), ({}, {"x-gateway-cache": "no-store"})]
        for fields, headers in ways:
            answer = await running.client.post(PATH, json={**MODEL, "input": "Hi", **fields}, headers=headers)
            assert answer.json()["store"] is False
            refused(await running.client.get(f"{PATH}/{answer.json()['id']}"), 404)


async def test_a_gateway_that_keeps_none(start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host, keep_responses=False)
        first = await ask(running)
        assert first["store"] is False
        refused(await running.client.get(f"{PATH}/{first['id']}"), 404)
        refused(await running.client.delete(f"{PATH}/{first['id']}"), 404)
        for fields in ({"previous_response_id": "resp_1"}, {"input": [{"type": "item_reference", "id": "msg_1_0"}]}):
            later = await running.client.post(PATH, json={**MODEL, "input": "Hi", **fields})
            assert "`keep_responses`" in refused(later)["message"]


async def test_a_store_that_is_away_is_no_empty_one(gateway: Gateway) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host, gateway({"a/fp8": host.url}) as running:
        first = await ask(running)
        assert first["store"] is False, "nobody promises what cannot be kept"
        path = f"{PATH}/{first['id']}"
        reference = [{"type": "item_reference", "id": first["output"][0]["id"]}]
        for answer in (
            await running.client.get(path),
            await running.client.get(f"{path}/input_items"),
            await running.client.delete(path),
            await running.client.post(PATH, json={**MODEL, "input": "Hi", "previous_response_id": first["id"]}),
            await running.client.post(PATH, json={**MODEL, "input": reference}),
        ):
            assert refused(answer, 503)["code"] == "store_away"
            assert "cannot be read" in answer.json()["error"]["message"]


async def test_it_works_under_openrouters_path_with_its_errors(start: Start) -> None:
    async with ScriptedHost(answers(200, completion("Hello."))) as host:
        running = await start(host)
        asked = {**MODEL, "input": "Hi"}
        first = (await running.client.post(f"/api{PATH}", json=asked)).json()
        later = await running.client.post(f"/api{PATH}", json={**asked, "previous_response_id": first["id"]})
        assert later.status_code == 200, later.text
        assert (await running.client.get(f"/api{PATH}/{first['id']}")).json()["id"] == first["id"]
        assert (await running.client.get(f"/api{PATH}/resp_x")).json()["error"]["code"] == 404
        unknown = await running.client.post(f"/api{PATH}", json={**asked, "previous_response_id": "resp_x"})
        assert unknown.json()["error"]["code"] == 400


def test_input_items_are_listed_with_their_texts_in_parts() -> None:
    given = [
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": "Go on."},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "message", "id": "msg_own", "role": "user", "content": [], "status": "incomplete"},
    ]
    kept = record({"id": "resp_x", "output": []}, given, NO_EARLIER)
    output = {"type": "output_text", "text": "Well.", "annotations": [], "logprobs": []}
    message = {"type": "message", "status": "completed"}
    assert kept.input == [
        {**message, "id": "msg_x_i0", "role": "assistant", "content": [output]},
        {**message, "id": "msg_x_i1", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]},
        {**given[2], "id": "fc_x_i2", "status": "completed"},
        given[3],
    ]
    assert (kept.earlier, kept.size) == ([], 0)
    assert record({"id": "resp_x"}, "Go on.", NO_EARLIER).input == [kept.input[1] | {"id": "msg_x_i0"}]
