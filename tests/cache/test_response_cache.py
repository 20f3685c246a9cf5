import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from copy import deepcopy
from typing import Any

import orjson
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.response_cache import MAX_BYTES, MAX_PIECES, CachedAnswer, ResponseCache, assemble, fresh, replay
from gateway.state.store import Store
from tests.support.valkey import until

Json = dict[str, Any]
WEATHER = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def completion(message: Json | None = None, finish_reason: str = "stop", **more: Any) -> Json:
    return {
        "id": "host-1",
        "object": "chat.completion",
        "created": 1,
        "model": "deepseek/deepseek-v3.2",
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None} | (message or {"content": "Hi there"}),
                "finish_reason": finish_reason,
            }
        ],
        "usage": USAGE,
    } | more


def chunk(delta: Json | None = None, finish_reason: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason}
    return {"id": "host-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | more


def call(index: int = 0, **part: Any) -> Json:
    return {"tool_calls": [{"index": index, **part}]}


def parsed(events: list[bytes]) -> list[Json]:
    assert events[-1] == b"data: [DONE]\n\n"
    assert all(event.startswith(b"data: {") and event.endswith(b"}\n\n") for event in events[:-1])
    return [orjson.loads(event[6:]) for event in events[:-1]]


def deltas(whole: Json, name: str) -> list[Any]:
    chunks = parsed(replay(whole, include_usage=False))
    return [c["choices"][0]["delta"][name] for c in chunks if name in c["choices"][0]["delta"]]


class TestAssemble:
    def message(self, *parts: Json) -> Json:
        whole = assemble([*map(chunk, parts), chunk({}, "stop")])
        assert whole is not None
        return dict(whole["choices"][0]["message"])

    def test_a_plain_answer(self) -> None:
        whole = assemble(
            [
                chunk({"role": "assistant", "content": ""}),
                chunk({"content": "Hi"}),
                chunk({"content": " there"}),
                chunk({}, "stop", system_fingerprint="fp"),
                {"id": "host-1", "choices": [], "usage": USAGE},
            ]
        )
        assert whole == completion({"content": "Hi there"}, model="m", system_fingerprint="fp")

    def test_all_kinds_of_text_add_up_known_or_not(self) -> None:
        for name in ("content", "reasoning_content", "reasoning", "refusal", "next_year"):
            assert self.message({name: "a\r\n"}, {name: None}, {name: "b"})[name] == "a\r\nb"

    def test_lists_add_up_and_other_values_are_kept_last(self) -> None:
        message = self.message({"annotations": [1], "score": 1}, {"annotations": [2], "score": 2}, {"score": None})
        assert message == {"role": "assistant", "content": None, "annotations": [1, 2], "score": 2}

    def test_tool_calls_add_up_by_index(self) -> None:
        first, second = {"name": "weather", "arguments": ""}, {"name": "time", "arguments": "{"}
        message = self.message(
            call(0, id="call_1", type="function", function=first),
            call(0, function={"arguments": '{"city": '}),
            call(1, id="call_2", type="function", function=second),
            call(0, function={"arguments": '"Oslo"}'}),
            call(1, function={"arguments": "}"}),
        )
        assert message["tool_calls"] == [
            WEATHER,
            {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ]

    def test_hosts_that_repeat_or_blank_a_calls_name(self) -> None:
        opening = {"name": "weather", "arguments": '{"city": '}
        message = self.message(
            call(0, id="call_1", type="function", function=opening),
            call(0, id="", type="function", function={"name": "weather", "arguments": '"Oslo"}'}),
            call(0, id=None, type=None, function={"name": None, "arguments": None}),
        )
        assert message["tool_calls"] == [WEATHER]

    def test_reasoning_details_add_up_by_index(self) -> None:
        def detail(index: int, text: str) -> Json:
            return {
                "reasoning_details": [{"type": "reasoning.text", "text": text, "format": "unknown", "index": index}]
            }

        message = self.message(detail(0, "a"), detail(0, "b"), detail(1, "c"))
        assert [one["text"] for one in message["reasoning_details"]] == ["ab", "c"]

    def test_many_reasoning_details_take_no_longer_each(self) -> None:
        """Compared with all that came before, these would take minutes."""
        kinds: list[Json] = [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "a"}]
        pieces: list[Json] = [{"reasoning_details": [kinds[0], {**kinds[1], "index": at}]} for at in range(50_000)]
        assert len(self.message(*pieces)["reasoning_details"]) == 100_000

    def test_what_is_nested_too_deeply_is_not_put_together(self) -> None:
        deep: Any = "deep"
        for _ in range(230):
            deep = [deep]
        assert assemble([chunk({"content": "a"}), chunk({"audio": deep}, "stop")]) is None

    def test_logprobs_add_up(self) -> None:
        tokens = [[{"token": "a"}], [{"token": "b"}]]
        events = [chunk({"content": "x"}) for _ in tokens]
        for event, token in zip(events, tokens, strict=True):
            event["choices"][0]["logprobs"] = {"content": token, "refusal": None}
        whole = assemble([*events, chunk({}, "stop")])
        assert whole is not None
        assert whole["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}

    def test_choices_come_in_the_order_of_their_index(self) -> None:
        events = [chunk({"content": "b"}, "stop"), chunk({"content": "a"}, "stop")]
        events[0]["choices"][0]["index"] = 1
        whole = assemble(events)
        assert whole is not None
        assert [choice["message"]["content"] for choice in whole["choices"]] == ["a", "b"]

    @pytest.mark.parametrize(
        "events",
        [
            [],
            [{"id": "host-1", "choices": [], "usage": USAGE}],
            [chunk({"content": "cut"})],
            [chunk({"content": "x"}), chunk({}, "stop", error={"code": 502, "message": "upstream"})],
            [chunk(call(0, function={"arguments": "{}"})), chunk({}, "tool_calls")],
            [chunk(call(1, id="x", function={"name": "f"})), chunk({}, "tool_calls")],
            [chunk({"tool_calls": [{"id": "x", "function": {"name": "f"}}]}), chunk({}, "tool_calls")],
            [chunk({"tool_calls": "nonsense"}), chunk({}, "tool_calls")],
            [chunk({"content": "a"}), chunk({"content": ["b"]}), chunk({}, "stop")],
            [chunk({"content": ["b"]}), chunk({"content": "a"}), chunk({}, "stop")],
            ["nonsense"],
            [{"choices": "nonsense"}],
            [{"choices": [{"delta": {"content": "no index"}, "finish_reason": "stop"}]}],
        ],
        ids=lambda events: str(events)[-60:],
    )
    def test_what_cannot_be_put_together_for_certain_is_nothing(self, events: list[Any]) -> None:
        assert assemble(events) is None

    def test_chunks_parsed_on_the_way_may_turn_out_not_to_be_json(self) -> None:
        assert assemble(orjson.loads(data) for data in (orjson.dumps(chunk({"content": "Hi"})), b"{")) is None


class TestReplay:
    def test_the_order_of_chunks(self) -> None:
        message = {"content": "Hi", "reasoning_content": "Hm", "tool_calls": [WEATHER]}
        chunks = parsed(replay(completion(message, "tool_calls"), include_usage=False))
        assert [c["choices"][0]["delta"] for c in chunks] == [
            {"role": "assistant", "content": ""},
            {"reasoning_content": "Hm"},
            {"content": "Hi"},
            call(0, id="call_1", type="function", function={"name": "weather", "arguments": ""}),
            call(0, function={"arguments": '{"city": "Oslo"}'}),
            {},
        ]
        assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * 5 + ["tool_calls"]

    def test_chunks_name_themselves_and_carry_no_null(self) -> None:
        whole = completion({"content": "Hi", "refusal": None, "audio": None, "tool_calls": None}, service_tier=None)
        for event in parsed(replay(whole, include_usage=False)):
            choice = event.pop("choices")[0]
            assert event.pop("usage", USAGE) == USAGE
            assert event == {"id": "host-1", "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
            assert choice["index"] == 0
            assert choice["delta"].keys() <= {"role", "content"}

    def test_known_fields_ride_on_every_chunk(self) -> None:
        chunks = parsed(replay(completion(system_fingerprint="fp", provider="Novita"), include_usage=True))
        assert all((c["system_fingerprint"], c["provider"]) == ("fp", "Novita") for c in chunks)

    def test_usage_is_on_the_finish_chunk_alone(self) -> None:
        chunks = parsed(replay(completion(), include_usage=False))
        assert ["usage" in c for c in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"

    def test_or_in_a_chunk_of_its_own(self) -> None:
        *chunks, last = parsed(replay(completion(), include_usage=True))
        assert not any("usage" in c for c in chunks)
        assert (last["choices"], last["usage"]) == ([], USAGE)

    def test_an_answer_without_usage(self) -> None:
        whole = completion()
        del whole["usage"]
        assert not any("usage" in c for c in parsed(replay(whole, include_usage=True)))

    @pytest.mark.parametrize("length", [0, 1, 16, 17, 5_000])
    def test_text_comes_in_a_few_pieces(self, length: int) -> None:
        pieces = deltas(completion({"content": "x" * length}), "content")[1:]
        assert "".join(pieces) == "x" * length
        assert len(pieces) <= MAX_PIECES

    def test_a_character_is_never_split(self) -> None:
        pieces = deltas(completion({"content": "😀" * 100}), "content")[1:]
        assert set("".join(pieces)) == {"😀"}
        assert len(pieces) > 1

    def test_the_completion_is_not_changed(self) -> None:
        whole = completion({"content": "Hi", "tool_calls": [WEATHER]})
        before = deepcopy(whole)
        replay(whole, include_usage=False)
        assert whole == before


text = st.text(st.characters(codec="utf-8"), max_size=80)
optional_text = st.none() | text


@st.composite
def messages(draw: st.DrawFn) -> Json:
    message: Json = {"role": "assistant", "content": draw(optional_text)}
    for name in ("reasoning_content", "reasoning", "refusal", "next_year"):
        value = draw(optional_text)
        if value is not None:
            message[name] = value
    names = draw(st.lists(text.filter(bool), max_size=3))
    if names:
        message["tool_calls"] = [
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": draw(text)}}
            for number, name in enumerate(names)
        ]
    count = draw(st.integers(0, 2))
    if count:
        message["reasoning_details"] = [
            {"type": "reasoning.text", "text": draw(text), "index": number} for number in range(count)
        ]
    return message


@st.composite
def completions(draw: st.DrawFn) -> Json:
    whole = completion(system_fingerprint=draw(optional_text), created=draw(st.integers(0, 2**40)))
    whole["choices"] = [
        {"index": index, "message": message, "finish_reason": draw(st.sampled_from(["stop", "tool_calls"]))}
        for index, message in enumerate(draw(st.lists(messages(), min_size=1, max_size=3)))
    ]
    if draw(st.booleans()):
        whole["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": []}]}
    if draw(st.booleans()):
        whole |= {"provider": "Novita", "service_tier": "default"}
    return whole


@given(completions(), st.booleans())
def test_a_replayed_answer_is_the_same_answer(whole: Json, include_usage: bool) -> None:
    assert assemble(parsed(replay(whole, include_usage))) == whole


def test_a_hit_costs_nothing_and_counts_its_tokens() -> None:
    costs = {"cost": 0.1, "cost_details": {"upstream_inference_cost": 0.1}, "estimated_cost": 0.1}
    answer = CachedAnswer(completion(usage=USAGE | costs), "novita/fp8", 5.0)
    given_again = fresh(answer, "gen-2", 7)
    assert (given_again["id"], given_again["created"]) == ("gen-2", 7)
    free = {"cost": 0, "cost_details": {"upstream_inference_cost": 0}, "estimated_cost": 0}
    assert given_again["usage"] == USAGE | free
    assert answer.completion["usage"] == USAGE | costs, "what is kept is not changed"


def test_a_hit_without_usage_has_none() -> None:
    assert fresh(CachedAnswer(completion(usage=None), "novita/fp8", 5.0), "gen-2", 7)["usage"] is None


class TestResponseCache:
    @pytest.fixture
    async def store(self, engine: str) -> AsyncIterator[Store]:
        store = Store(engine, budget=10.0)
        store.start()
        await until(lambda: store.healthy)
        yield store
        await store.close()

    @pytest.fixture
    def client(self, engine: str) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(engine) as client:
            client.flushdb()
            yield client

    async def look(self, store: Store, key: bytes = b"key") -> CachedAnswer | None:
        found: asyncio.Future[CachedAnswer | None] = asyncio.get_running_loop().create_future()
        ResponseCache(store).lookup(key, found.set_result)
        async with asyncio.timeout(60):
            return await found

    async def test_what_is_saved_is_found_until_its_time_is_over(self, store: Store, client: redis.Redis) -> None:
        answer = CachedAnswer(
            completion({"content": "Grüße 😀", "tool_calls": [WEATHER]}, "tool_calls"), "novita/fp8", 5.5
        )
        assert await self.look(store) is None
        assert ResponseCache(store).save(b"key", answer, 60.0)
        await until(lambda: bool(client.exists("key")))
        assert await self.look(store) == answer
        assert 0 < client.ttl("key") <= 60

    @pytest.mark.parametrize("reason", ["length", "content_filter", "error", None])
    async def test_unclean_answers_are_refused(self, store: Store, reason: str) -> None:
        answer = CachedAnswer(completion(finish_reason=reason), "novita/fp8", 5.0)
        assert not ResponseCache(store).save(b"key", answer, 60.0)

    async def test_every_choice_must_be_clean(self, store: Store) -> None:
        whole = completion()
        whole["choices"] += completion(finish_reason="length")["choices"]
        assert not ResponseCache(store).save(b"key", CachedAnswer(whole, "novita/fp8", 5.0), 60.0)

    async def test_an_answer_over_the_limit_is_refused(self, store: Store) -> None:
        def saved(size: int) -> bool:
            answer = CachedAnswer(completion({"content": "x" * size}), "novita/fp8", 5.0)
            return ResponseCache(store).save(b"key", answer, 60.0)

        assert saved(MAX_BYTES - 1000)
        assert not saved(MAX_BYTES)

    @pytest.mark.parametrize(
        "garble",
        [
            lambda kept: "not JSON",
            lambda kept: "[]",
            lambda kept: kept | {"v": 2},
            lambda kept: kept | {"at": "noon"},
            lambda kept: {"v": 1},
            lambda kept: kept | {"completion": None},
            lambda kept: kept | {"completion": {"choices": "text"}},
            lambda kept: kept | {"completion": completion() | {"choices": []}},
            lambda kept: kept | {"completion": completion() | {"usage": 7}},
            lambda kept: kept | {"completion": completion({"content": 7})},
            lambda kept: kept | {"completion": completion({"tool_calls": [{"function": {"name": "f"}}]})},
            lambda kept: kept | {"completion": completion(finish_reason="length")},
        ],
    )
    async def test_whatever_is_wrong_with_an_entry_it_is_a_miss(
        self, store: Store, client: redis.Redis, garble: Callable[[Json], Any]
    ) -> None:
        garbled = garble({"v": 1, "at": 5.0, "endpoint": "novita/fp8", "completion": completion()})
        client.set("key", garbled if isinstance(garbled, str) else orjson.dumps(garbled))
        assert await self.look(store) is None
