"""A prompt that fits nowhere loses its middle, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake.middle_out import LEAST, MARK, SPARE, compressed, middle_out
from gateway.intake.prefix import prefix_chain
from gateway.intake.prompt import message_size, read_prompt
from gateway.route.fleet import Fleet
from gateway.types import Policy, Request, Require
from tests.route.world import endpoint

Json = dict[str, Any]
SIZE = 100


def said(role: str, text: str) -> Json:
    return {"role": role, "content": text}


def called(name: str) -> list[Json]:
    call = {"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": name, "content": "result " * 20},
    ]


def size(messages: list[Json]) -> int:
    return sum(map(message_size, messages))


CHAT = [said("system", "s" * SIZE), *(said("user" if at % 2 else "assistant", f"{at} " * 50) for at in range(1, 20))]
texts = st.text(max_size=2_000)
turns = st.one_of(
    st.builds(lambda role, text: [said(role, text)], st.sampled_from(["user", "assistant", "system"]), texts),
    st.builds(called, st.uuids().map(str)),
)
chats = st.lists(turns, min_size=1, max_size=12).map(lambda parts: [message for part in parts for message in part])


def test_what_fits_is_left_alone() -> None:
    assert middle_out(CHAT, size(CHAT)) == CHAT


def test_the_middle_goes_first() -> None:
    shorter = middle_out(CHAT, size(CHAT) - 300)
    assert shorter is not None
    gone = [at for at, message in enumerate(CHAT) if message not in shorter]
    assert gone
    assert all(6 < at < 14 for at in gone)


@pytest.mark.parametrize(
    ("loose", "fewer", "gone"),
    [(5, 1, {2}), (5, 3, {1, 2, 3}), (4, 1, {1}), (4, 2, {1, 2}), (6, 3, {1, 2, 3}), (1, 1, {0})],
)
def test_from_the_middle_outwards_the_earlier_first(loose: int, fewer: int, gone: set[int]) -> None:
    between = [said("assistant", f"{at}".zfill(92)) for at in range(loose)]
    chat = [said("user", "first"), *between, said("user", "last")]
    shorter = middle_out(chat, size(chat) - fewer * message_size(between[0]))
    assert shorter is not None
    assert {at for at, message in enumerate(between) if message not in shorter} == gone


def test_the_ends_stay_whatever_goes() -> None:
    kept = [CHAT[0], CHAT[1], CHAT[-1]]
    assert middle_out(CHAT, size(kept)) == kept


def test_a_text_that_is_too_long_by_itself_loses_its_middle() -> None:
    chat = [said("system", "Be brief."), said("user", "begin " + "x" * 10_000 + " end")]
    shorter = middle_out(chat, 1_000)
    assert shorter is not None
    assert shorter[0] == chat[0]
    text = shorter[1]["content"]
    assert MARK in text
    assert text.startswith("begin x")
    assert text.endswith("x end")
    assert 900 < size(shorter) <= 1_000


def test_instructions_are_shortened_last() -> None:
    chat = [said("system", "s" * 5_000), said("user", "u" * 4_000)]
    shorter = middle_out(chat, 7_000)
    assert shorter is not None
    assert (shorter[0], len(shorter[1]["content"]) < 2_100) == (chat[0], True)
    assert middle_out(chat, 3_000) is not None
    assert middle_out(chat, 300) is None


def test_a_text_that_a_cut_would_not_shorten_stays_whole() -> None:
    chat = [said("system", "s" * 5_000), said("user", "u" * (LEAST + len(MARK)))]
    shorter = middle_out(chat, size(chat) - 1_000)
    assert shorter is not None
    assert shorter[1] == chat[1]
    chat[1] = said("user", chat[1]["content"] + "u")
    shorter = middle_out(chat, size(chat) - 1_000)
    assert shorter is not None
    assert len(shorter[1]["content"]) == LEAST + len(MARK)


def test_the_task_stays_in_a_long_tool_loop() -> None:
    loop = [said("user", "the task"), *(message for at in range(30) for message in called(f"c{at}"))]
    shorter = middle_out(loop, size(loop) // 3)
    assert shorter is not None
    assert shorter[0] == loop[0]
    assert shorter[-2:] == loop[-2:]


def test_results_without_their_calls_go_together() -> None:
    """As a client sends them that kept only the end of a chat."""
    orphans = [{"role": "tool", "tool_call_id": name, "content": "result " * 20} for name in "xy"]
    chat = [said("user", "first"), *orphans, said("user", "last")]
    assert middle_out(chat, size(chat) - 1) == [chat[0], chat[-1]]


def test_results_in_front_of_everything_are_a_part_of_their_own() -> None:
    orphan = {"role": "tool", "tool_call_id": "x", "content": "result " * 20}
    chat = [orphan, said("user", "first"), said("user", "last")]
    assert middle_out(chat, size(chat) - 1) == chat[1:]


@given(chats, st.integers(0, 20_000))
def test_what_comes_out_fits_keeps_its_order_and_its_last_message(chat: list[Json], budget: int) -> None:
    shorter = middle_out(chat, budget)
    if shorter is None:
        assert budget < size(chat)
        return
    assert size(shorter) <= max(budget, 0)
    places = iter(range(len(chat)))
    assert all(any(same(chat[at], message) for at in places) for message in shorter)
    assert same(chat[-1], shorter[-1])
    assert calls(shorter) == results(shorter)


def same(one: Json, other: Json) -> bool:
    """The same message, perhaps shortened."""
    rest = [{name: value for name, value in message.items() if name != "content"} for message in (one, other)]
    whole, text = one["content"], other["content"]
    if rest[0] != rest[1] or whole == text:
        return rest[0] == rest[1]
    return isinstance(text, str) and MARK in text and whole.startswith(text[: text.index(MARK)])


def calls(chat: list[Json]) -> list[str]:
    return [call["id"] for message in chat for call in message.get("tool_calls", ())]


def results(chat: list[Json]) -> list[str]:
    return [message["tool_call_id"] for message in chat if message["role"] == "tool"]


# --- where it applies


def asked(messages: list[Json], **fields: Any) -> Request:
    body = {"model": "m", "messages": messages}
    prompt = read_prompt(body)
    prefix = prefix_chain(prompt, "local", False, 4.0)
    tokens = -(-prompt.size // 4)
    given: Json = {
        "prompt_tokens": tokens,
        "prompt_size": prompt.size,
        "prefix": prefix,
        "raw": b"{}",
    }
    return Request("gen-1", body, "m", "p", **given | fields)


def test_a_prompt_that_fits_somewhere_is_left_alone() -> None:
    request = asked(CHAT)
    assert (
        compressed(request, Policy("p"), Fleet([endpoint("a", context=100), endpoint("b", context=10_000)])) is request
    )


def test_one_that_fits_nowhere_fits_the_largest() -> None:
    request, fleet = asked(CHAT), Fleet([endpoint("a", context=100), endpoint("b", context=500)])
    shorter = compressed(request, Policy("p"), fleet)
    assert shorter.prompt_tokens < 500 <= request.prompt_tokens
    assert shorter.raw == b""
    assert len(shorter.body["messages"]) < len(CHAT)
    assert shorter.prefix[0] == request.prefix[0]
    assert shorter.prefix[-1][1] == shorter.prompt_tokens
    assert 0 < shorter.opening < shorter.prompt_tokens
    assert request.body["messages"] == CHAT


def test_a_share_of_the_context_is_left_free_because_tokens_are_estimated() -> None:
    shorter = compressed(asked([said("user", "x" * 10_000)]), Policy("p"), Fleet([endpoint("a", context=1_000)]))
    assert 0.98 < shorter.prompt_size / (4 * 1_000 * (1 - SPARE)) <= 1.0


def test_only_those_that_may_serve_count_and_room_is_left_for_the_answer() -> None:
    fleet = Fleet([endpoint("a", context=600), endpoint("b", context=100_000)])
    shorter = compressed(asked(CHAT, max_tokens=200), Policy("p", require=Require(only=("a",))), fleet)
    assert shorter.prompt_tokens <= 400


@pytest.mark.parametrize("endpoints", [[], [endpoint("a", context=20)], [endpoint("a", context=5)]])
def test_where_nothing_helps_the_request_stays_for_its_error(endpoints: list[Any]) -> None:
    request = asked(CHAT, max_tokens=10)
    assert compressed(request, Policy("p"), Fleet(endpoints)) is request
