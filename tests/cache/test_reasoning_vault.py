"""Reasoning that a client drops comes back: for the same tenant, the same call, from a store that may be away."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.cache.reasoning_vault import LARGEST, MOST, SCRAP, ReasoningVault, gaps
from gateway.state.store import Store
from gateway.types import Request
from tests.support.gateway import NO_STORE
from tests.support.valkey import until

Json = dict[str, Any]
THOUGHT = "The weather decides. Also: Übermut, 天气."
NOTHING: Mapping[int, str] = {}


def call(name: str = "call_1", arguments: str = '{"city": "Oslo", "unit": "C"}', function: str = "weather") -> Json:
    return {"id": name, "type": "function", "function": {"name": function, "arguments": arguments}}


def said(*calls: Json, **fields: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def result(name: str = "call_1") -> Json:
    return {"role": "tool", "tool_call_id": name, "content": "rain"}


def asked(*messages: Json, tenant: str = "web", **fields: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": "Umbrella?"}, *messages]}
    given: Json = {"thinking": True, "prompt_size": 4_000, "prompt_tokens": 1_000, "raw": b"{}"}
    return Request("gen-1", body, "m", "p", tenant=tenant, **given | fields)


def answer(*calls: Json, **reasoning: Any) -> Json:
    message = {"role": "assistant", "content": None, "tool_calls": list(calls), **reasoning}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


ANSWER = answer(call(), reasoning_content=THOUGHT)


@pytest.fixture
async def stores(valkey: str) -> AsyncIterator[tuple[Store, Store]]:
    """Two replicas' connections to one store."""
    both = Store(valkey, budget=10.0), Store(valkey, budget=10.0)
    for store in both:
        store.start()
    await until(lambda: all(store.healthy for store in both))
    yield both
    for store in both:
        await store.close()


async def restored(store: Store, request: Request) -> Request:
    answered: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
    ReasoningVault(store).restore(request, gaps(request), answered.set_result)
    async with asyncio.timeout(60):
        return await answered


async def kept(store: Store, request: Request, completion: Json, hidden: Mapping[int, str] = NOTHING) -> None:
    """A later get of the same connection comes after the write."""
    ReasoningVault(store).keep(request, completion, hidden)
    done = asyncio.Event()
    store.get(b"gw:none", lambda _: done.set())
    await done.wait()
    store.get(b"gw:none", lambda _: done.set())
    done.clear()
    await done.wait()


async def test_what_was_dropped_comes_back_on_another_replica(stores: tuple[Store, Store]) -> None:
    await kept(stores[0], asked(tenant="one"), ANSWER)
    before = asked(said(call()), result(), tenant="one")
    after = await restored(stores[1], before)
    assert after.body["messages"][1] == said(call(), reasoning_content=THOUGHT)
    assert "reasoning_content" not in before.body["messages"][1]
    assert after.raw == b""
    assert after.prompt_size == 4_000 + len(THOUGHT.encode())
    assert after.prompt_tokens == pytest.approx(1_000 * after.prompt_size / 4_000, abs=1)


@pytest.mark.parametrize(
    "returned",
    [
        said(call(arguments='{"unit":"C","city":"Oslo"}')),
        said(call(), reasoning_content=None, reasoning=""),
        said(call(), reasoning_details=[]),
        said(call(), call("call_2")),
        said(call(), reasoning_content="天气."),
        said(call(), reasoning="天气.", reasoning_details=[{"text": "天气."}]),
    ],
    ids=["arguments written anew", "empty fields", "empty details", "another call", "its end", "its end, twice"],
)
async def test_a_call_is_known_however_it_comes_back(returned: Json, stores: tuple[Store, Store]) -> None:
    await kept(stores[0], asked(tenant="two"), ANSWER)
    after = await restored(stores[0], asked(returned, result(), tenant="two"))
    assert after.body["messages"][1]["reasoning_content"] == THOUGHT


@pytest.mark.parametrize(
    ("returned", "tenant"),
    [
        (said(call()), "somebody else"),
        (said(call("call_2")), "three"),
        (said(call(arguments='{"city": "Rome", "unit": "C"}')), "three"),
        (said(call(function="wind")), "three"),
    ],
    ids=["another tenant", "another id", "other arguments", "another function"],
)
async def test_reasoning_of_another_call_is_never_restored(
    returned: Json, tenant: str, stores: tuple[Store, Store]
) -> None:
    await kept(stores[0], asked(tenant="three"), ANSWER)
    request = asked(returned, result(), tenant=tenant)
    assert await restored(stores[0], request) is request


@pytest.mark.parametrize("text", ["Something else.", THOUGHT])
async def test_a_short_thought_that_is_no_end_stays(text: str, stores: tuple[Store, Store]) -> None:
    await kept(stores[0], asked(tenant="short"), ANSWER)
    request = asked(said(call(), reasoning_content=text), result(), tenant="short")
    assert await restored(stores[0], request) is request


async def test_the_reasoning_of_each_call_of_a_long_turn_comes_back(stores: tuple[Store, Store]) -> None:
    names = [f"long_{at}" for at in range(5)]
    for name in names[1:]:
        await kept(stores[0], asked(), answer(call(name), reasoning=f"about {name}"))
    turn = [message for name in names for message in (said(call(name)), result(name))]
    after = await restored(stores[1], asked(*turn))
    found = [one.get("reasoning_content") for one in after.body["messages"] if one["role"] == "assistant"]
    assert found == [None, *(f"about {name}" for name in names[1:])]


async def test_what_the_client_did_not_get_comes_back_too(stores: tuple[Store, Store]) -> None:
    await kept(stores[0], asked(tenant="five"), answer(call()), {0: THOUGHT, 1: "of another choice"})
    after = await restored(stores[1], asked(said(call()), result(), tenant="five"))
    assert after.body["messages"][1]["reasoning_content"] == THOUGHT


async def test_a_choice_without_an_index_is_the_first(stores: tuple[Store, Store]) -> None:
    completion = answer(call())
    del completion["choices"][0]["index"]
    await kept(stores[0], asked(tenant="six"), completion, {0: THOUGHT, 1: "of another choice"})
    after = await restored(stores[1], asked(said(call()), result(), tenant="six"))
    assert after.body["messages"][1]["reasoning_content"] == THOUGHT


async def test_a_text_that_is_too_long_is_not_kept(stores: tuple[Store, Store]) -> None:
    await kept(stores[0], asked(tenant="four"), answer(call(), reasoning_content="x" * (LARGEST + 1)))
    request = asked(said(call()), result(), tenant="four")
    assert await restored(stores[0], request) is request


async def test_without_the_store_a_request_goes_on_as_it_came() -> None:
    store = Store(NO_STORE)
    ReasoningVault(store).keep(asked(), ANSWER, NOTHING)
    request = asked(said(call()), result())
    assert await restored(store, request) is request


@pytest.mark.parametrize(
    "completion",
    [
        answer(call()),
        answer(call(), reasoning_content=""),
        answer(reasoning_content=THOUGHT),
        answer(3, reasoning_content=THOUGHT),  # type: ignore[arg-type]
        answer({"id": 3, "function": None}, reasoning_content=THOUGHT),
        {"choices": [{"index": 0, "message": None}, {"index": 1}]},
    ],
)
async def test_what_has_no_thought_or_no_call_is_not_kept(completion: Json) -> None:
    store = Store(NO_STORE)
    ReasoningVault(store).keep(asked(), completion, NOTHING)
    assert store.stats.dropped == 0


async def test_a_call_with_other_arguments_gets_nothing_though_they_are_no_text(stores: tuple[Store, Store]) -> None:
    one, other = (call(arguments={"city": city}) for city in ("Oslo", "Rome"))  # type: ignore[arg-type]
    await kept(stores[0], asked(), answer(one, reasoning_content=THOUGHT))
    same = await restored(stores[0], asked(said(one), result()))
    assert same.body["messages"][1]["reasoning_content"] == THOUGHT
    before = asked(said(other), result())
    assert (await restored(stores[0], before)).body["messages"] == before.body["messages"]


def test_arguments_may_be_anything() -> None:
    for arguments in ("", "no JSON", "[" * 500 + "]" * 500, None, {"a": 1}):
        assert len(gaps(asked(said(call(arguments=arguments))))) == 1  # type: ignore[arg-type]


# --- models that read all earlier reasoning again


TOOLS = [{"type": "function", "function": {"name": "weather"}}]
USER = {"role": "user", "content": "And tomorrow?"}


def asked_v4(*messages: Json, **fields: Any) -> Request:
    request = asked(*messages, reasoning_history="preserved", **fields)
    return msgspec.structs.replace(request, body=request.body | {"tools": TOOLS})


def text_answer(text: str, thought: str) -> Json:
    message = {"role": "assistant", "content": text, "reasoning_content": thought}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


async def test_calls_and_answers_of_earlier_turns_get_theirs_back(stores: tuple[Store, Store]) -> None:
    turn = [said(call()), result()]
    await kept(stores[0], asked_v4(tenant="v4"), ANSWER)
    await kept(stores[0], asked_v4(*turn, tenant="v4"), text_answer("Take one.", "It rains."))
    later = [*turn, {"role": "assistant", "content": "Take one.\n"}, USER]
    after = await restored(stores[1], asked_v4(*later, tenant="v4"))
    assert [one.get("reasoning_content") for one in after.body["messages"]] == [None, THOUGHT, None, "It rains.", None]


async def test_an_answer_is_known_by_what_it_answers_too(stores: tuple[Store, Store]) -> None:
    await kept(stores[0], asked_v4(tenant="v4-text"), text_answer("Yes.", "Of the first question."))
    yes = {"role": "assistant", "content": "Yes."}
    other = asked_v4(USER, yes, USER, tenant="v4-text")
    assert await restored(stores[0], other) is other
    same = asked_v4(yes, USER, tenant="v4-text")
    assert (await restored(stores[0], same)).body["messages"][1]["reasoning_content"] == "Of the first question."


@pytest.mark.parametrize(
    ("request_", "places"),
    [
        (asked_v4(said(call()), result(), USER), [1]),
        (asked_v4({"role": "assistant", "content": "No."}, USER), [1]),
        (asked({"role": "assistant", "content": "No."}, USER, reasoning_history="preserved"), []),
        (asked_v4({"role": "assistant", "content": [{"type": "text", "text": "No."}]}, USER), []),
        (asked_v4(said(call()), result(), USER, thinking=False), []),
        (asked(said(call()), result(), reasoning_history="disabled"), []),
    ],
    ids=["a call", "an answer", "without tools", "parts", "not thinking", "disabled"],
)
def test_what_may_be_missing_is_the_models_rule(request_: Request, places: list[int]) -> None:
    assert [gap.place for gap in gaps(request_)] == places


async def test_a_text_that_was_read_lives_on(stores: tuple[Store, Store], valkey: str) -> None:
    await kept(stores[0], asked(tenant="long"), ANSWER)
    (gap,) = gaps(asked(said(call()), result(), tenant="long"))
    async with Redis.from_url(valkey) as redis:
        await redis.expire(gap.key, 60)
        await restored(stores[0], asked(said(call()), result(), tenant="long"))
        assert await redis.ttl(gap.key) > 60


# --- what lacks nothing


@pytest.mark.parametrize(
    "request_",
    [
        asked(),
        asked(said(call(), reasoning_content="h" * SCRAP), result()),
        asked(said(call(), reasoning="h" * SCRAP), result()),
        asked(said(call(), reasoning_details=[{"text": "here"}]), result()),
        asked(said(call()), result(), {"role": "user", "content": "And tomorrow?"}),
        asked(said(call()), result(), thinking=False),
        asked({"role": "assistant", "content": "No."}),
        asked(said("odd")),  # type: ignore[arg-type]
    ],
    ids=["new", "content", "reasoning", "details", "an earlier turn", "not thinking", "no calls", "odd"],
)
def test_what_lacks_nothing_never_asks(request_: Request) -> None:
    assert gaps(request_) == []


def test_only_the_last_are_looked_up() -> None:
    request = asked(*(said(call(f"c{at}")) for at in range(MOST + 10)))
    found = gaps(request)
    assert [gap.place for gap in found] == list(range(MOST + 10, 10, -1))
    assert len({gap.key for gap in found}) == MOST
    other = msgspec.structs.replace(request, tenant="else")
    assert {gap.key for gap in found}.isdisjoint(gap.key for gap in gaps(other))
