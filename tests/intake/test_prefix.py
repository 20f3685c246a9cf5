"""By what a prompt is recognised: its beginning, or the session that its client names."""

from itertools import pairwise, takewhile
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake.prefix import LONGEST_CHAIN, PIECE, Chain, known_by
from gateway.intake.prompt import read_prompt
from gateway.route.prompt_cache import PrefixIndex
from gateway.types import Policy

PREFIX = Policy("p")
SESSION = Policy("s", affinity="session")
FIRST = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "x" * 1_000}]
SECOND = [*FIRST, {"role": "assistant", "content": "y" * 400}, {"role": "user", "content": "And then?"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d" * PIECE}}


def known(
    messages: list[dict[str, Any]], policy: Policy = SESSION, session: str = "s-1", tenant: str = "t", **body: Any
) -> Chain:
    return known_by(policy, tenant, session, read_prompt({"messages": messages, **body}), False, 4.0)


def user(content: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def shared(one: Chain, other: Chain) -> Chain:
    return tuple(border for border, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


# --- by its beginning


def test_a_message_shorter_than_a_piece_is_one_hash() -> None:
    assert len(known(SECOND, PREFIX)) == len(SECOND)
    assert len(known(user("x" * PIECE), PREFIX)) == 1


def test_a_long_message_has_a_hash_every_2_kb_and_one_at_its_end() -> None:
    chain = known(user("x" * (3 * PIECE + 5)), PREFIX)
    assert [tokens for _, tokens in chain] == [514, 1_026, 1_538, 1_540]  # after eight bytes for the template's marks


def test_two_long_documents_match_up_to_the_piece_in_which_they_differ() -> None:
    """100 KB in one message, of which the last 3 KB differ."""
    common = "".join(f"{line}: a line of the document\n" for line in range(4_000))[: 97 * 1024]
    one, other = known(user(common + "a" * 3_072), PREFIX), known(user(common + "b" * 3_072), PREFIX)
    index = PrefixIndex()
    index.sent(one, "host", 0.0)
    matched = index.matches(other, {"host": 300.0}, 1.0)["host"]
    assert 96 * 1024 / 4 <= matched < 97 * 1024 / 4
    assert matched / other[-1][1] > 0.95


@pytest.mark.parametrize(
    "content",
    [
        lambda tail: [{"type": "text", "text": "д" * 5_000}, {"type": "text", "text": tail}],
        lambda tail: "д" * 5_000 + tail,
    ],
    ids=["parts", "text"],
)
def test_parts_and_letters_of_several_bytes_are_cut_alike(content: Any) -> None:
    one, other = known(user(content("one")), PREFIX), known(user(content("other")), PREFIX)
    assert len(one) == len(other) == 5
    assert len(shared(one, other)) == 4


def test_tools_come_first_in_pieces_of_their_own() -> None:
    one = known(FIRST, PREFIX, tools=[TOOL, TOOL])
    assert len(one) == 3 + len(FIRST)
    assert len(shared(one, known(FIRST, PREFIX, tools=[TOOL, TOOL, TOOL]))) == 2
    assert len(shared(one, known(user("Hi"), PREFIX, tools=[TOOL, TOOL]))) == 3
    assert shared(one, known(FIRST, PREFIX)) == ()


def test_whether_the_model_thinks_makes_another_prompt() -> None:
    prompt = read_prompt({"messages": FIRST})
    one, other = (known_by(PREFIX, "t", "", prompt, thinking, 4.0) for thinking in (False, True))
    assert shared(one, other) == ()


def test_what_one_tenant_has_sent_is_not_known_for_another() -> None:
    for tools in ([], [TOOL]):
        assert (
            shared(known(SECOND, PREFIX, tenant="t", tools=tools), known(SECOND, PREFIX, tenant="u", tools=tools)) == ()
        )
    assert known(SECOND, PREFIX, tenant="t") == known(SECOND, PREFIX, tenant="t")


def test_a_chain_is_bounded_in_one_message_and_in_many() -> None:
    assert len(known(user("x" * PIECE * (LONGEST_CHAIN + 9)), PREFIX)) == LONGEST_CHAIN
    assert len(known(user("x") * (LONGEST_CHAIN + 9), PREFIX)) == LONGEST_CHAIN


texts = st.integers(0, 5 * PIECE).map(lambda length: "tëxt " * (length // 5))
chats = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts), min_size=1, max_size=4).map(
    lambda turns: [{"role": role, "content": text} for role, text in turns]
)


@given(chats, chats)
def test_a_prompt_that_continues_another_has_all_its_hashes(before: Any, after: Any) -> None:
    earlier = known(before, PREFIX)
    assert known(before + after, PREFIX)[: len(earlier)] == earlier


@given(chats, st.data())
def test_borders_end_within_a_piece_and_with_the_prompt(messages: Any, data: st.DataObject) -> None:
    prompt = read_prompt({"messages": messages})
    bytes_per_token = data.draw(st.floats(1.0, 8.0))
    chain = known_by(PREFIX, "t", "", prompt, False, bytes_per_token)
    ends = [0, *(tokens for _, tokens in chain)]
    assert all(0 < later - earlier <= (PIECE + 8) / bytes_per_token + 1 for earlier, later in pairwise(ends))
    assert ends[-1] == ceil(prompt.size / bytes_per_token)
    assert len(set(chain)) == len(chain)


# --- by its session


def test_a_session_is_one_hash_for_all_that_it_has_sent_before() -> None:
    ((first, nothing_much),), ((second, tokens),) = known(FIRST), known(SECOND)
    assert first == second
    assert nothing_much < 10
    assert tokens == pytest.approx((1_000 + 400) / 4, abs=20)


def test_sessions_of_two_tenants_are_two() -> None:
    pairs = [("a", "a"), ("a", "b"), ("b", "a"), ("a", "b c"), ("a b", "c")]
    assert len({known(FIRST, tenant=tenant, session=session) for tenant, session in pairs}) == len(pairs)


def test_without_a_session_it_is_the_prefix() -> None:
    assert known(SECOND, session="") == known(SECOND, PREFIX)
    assert len(known(SECOND, session="")) == len(SECOND)


def test_a_prefix_does_not_ask_for_the_session() -> None:
    assert known(SECOND, PREFIX, session="one") == known(SECOND, PREFIX, session="two")


def test_no_affinity_hashes_nothing() -> None:
    assert known(SECOND, Policy("p", affinity="none")) == ()
