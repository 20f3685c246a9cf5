"""The prefix index finds what was sent within the TTL, along cumulative hashes only, and stays bounded; re-reads are
learned from it."""

import tracemalloc
from itertools import count, product
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.prompt_cache import (
    HASH_BYTES,
    HIT_RATE,
    REREADS,
    REREADS_HALF_LIFE,
    REREADS_TOKENS,
    STRETCH_BYTES,
    HitRate,
    PrefixIndex,
    Rereads,
)

Chain = tuple[tuple[int, int], ...]
TTLS = {"a": 300.0, "b": 60.0}
TURN = ((1, 100), (2, 200), (3, 300))


def test_a_prompt_that_was_sent_matches_whole() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 0.0)
    assert index.matches(TURN, TTLS, 1.0) == {"a": 300}


def test_the_next_turn_matches_as_far_as_it_was_sent() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 0.0)
    assert index.matches((*TURN, (4, 400)), TTLS, 1.0) == {"a": 300}


def test_each_endpoint_matches_as_far_as_it_was_sent() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 0.0)
    index.sent(TURN[:1], "b", 0.0)
    assert index.matches(TURN, TTLS, 1.0) == {"a": 300, "b": 100}


def test_a_known_hash_after_an_unknown_one_is_no_match() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 0.0)
    assert index.matches(((9, 100), (2, 200)), TTLS, 1.0) == {}


def test_each_endpoint_forgets_after_its_own_ttl() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 0.0)
    index.sent(TURN, "b", 0.0)
    assert index.matches(TURN, TTLS, 59.0) == {"a": 300, "b": 300}
    assert index.matches(TURN, TTLS, 60.0) == {"a": 300}
    assert index.matches(TURN, TTLS, 300.0) == {}


def test_sending_again_starts_the_ttl_again() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 0.0)
    index.sent(TURN[:2], "a", 200.0)
    assert index.matches(TURN, TTLS, 400.0) == {"a": 200}


def test_older_news_do_not_shorten_the_ttl() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 200.0)
    index.sent((*TURN, (4, 400)), "a", 0.0)
    assert index.matches((*TURN, (4, 400)), TTLS, 299.0) == {"a": 400}
    assert index.matches((*TURN, (4, 400)), TTLS, 301.0) == {"a": 300}


def test_late_news_of_a_longer_prompt_outlive_the_next_branch() -> None:
    """The late news left the shared part as new as it was: nothing else shows that something follows it."""
    index, longer, other = PrefixIndex(), (*TURN, (4, 400)), (*TURN, (5, 450))
    index.sent(TURN, "a", 200.0)
    index.sent(longer, "a", 150.0)
    index.sent(other, "a", 210.0)
    assert index.matches(longer, TTLS, 220.0) == {"a": 400}
    assert index.matches(other, TTLS, 220.0) == {"a": 450}


def test_a_branch_of_the_same_endpoint_leaves_the_other_one_whole() -> None:
    index, other = PrefixIndex(), (TURN[0], (7, 250))
    index.sent(TURN, "a", 0.0)
    index.sent(other, "a", 1.0)
    assert index.matches(TURN, TTLS, 2.0) == {"a": 300}
    assert index.matches(other, TTLS, 2.0) == {"a": 250}


def test_an_endpoint_without_a_cache_or_out_of_use_never_matches() -> None:
    index = PrefixIndex()
    index.sent(TURN, "none", 0.0)
    index.sent(TURN, "gone", 0.0)
    assert index.matches(TURN, {"none": 0.0}, 0.0) == {}


def test_a_branch_matches_up_to_where_it_leaves_the_other() -> None:
    index = PrefixIndex()
    index.sent(TURN, "a", 0.0)
    index.sent((TURN[0], (7, 250)), "b", 0.0)
    assert index.matches(TURN, TTLS, 1.0) == {"a": 300, "b": 100}
    assert index.matches((TURN[0], (7, 250), (8, 400)), TTLS, 1.0) == {"a": 100, "b": 250}


def test_a_conversation_is_one_stretch_as_long_as_it_stays_at_its_endpoint() -> None:
    index, chain = PrefixIndex(), tuple((number, 10 * number) for number in range(1, 200))
    for turn in range(1, 100):
        index.sent(chain[:turn], "a", float(turn))
    assert len(index) == 1
    for turn in range(100, 200):
        index.sent(chain[:turn], "b", float(turn))
    assert len(index) == 2
    assert index.matches(chain, TTLS, 200.0) == {"a": 990, "b": 1_990}


# --- how much it holds


def test_what_is_sent_again_and_again_outlives_what_is_not() -> None:
    index = PrefixIndex(limit=20 * STRETCH_BYTES)
    index.sent(((1_000, 1),), "a", 0.0)
    for number in range(200):
        index.sent(((2_000, 1), (number, 2)), "a", 0.0)
    assert index.matches(((2_000, 1),), TTLS, 1.0) == {"a": 1}
    assert index.matches(((1_000, 1),), TTLS, 1.0) == {}
    assert len(index) <= 20


@pytest.mark.parametrize("hashes", [1, 20, 300])
def test_it_takes_no_more_memory_than_its_limit(hashes: int) -> None:
    limit, numbers = 2**20, count(2**62)
    index = PrefixIndex(limit)
    tracemalloc.start()
    try:
        most = 0
        for _ in range(4 * limit // (STRETCH_BYTES + HASH_BYTES * hashes)):
            index.sent([(next(numbers), 1) for _ in range(hashes)], "a", 0.0)
            most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert 0.6 * limit < most < 1.1 * limit


# --- against a plain list of all sends


def _chain(path: list[int]) -> Chain:
    return tuple((hash(tuple(path[: end + 1])) % 2**64, 10 * (end + 1)) for end in range(len(path)))


chains = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(_chain)
sends = st.lists(
    st.tuples(chains, st.sampled_from(["a", "b", "c"]), st.floats(0.0, 100.0), st.sampled_from([0.0, 0.0, 30.0, 90.0])),
    max_size=60,
)


class Everything:
    """Knows when each endpoint was sent each hash, and forgets nothing."""

    def __init__(self) -> None:
        self.last: dict[tuple[int, str], float] = {}

    def sent(self, chain: Chain, endpoint: str, at: float) -> None:
        for digest, _ in chain:
            self.last[digest, endpoint] = max(at, self.last.get((digest, endpoint), at))

    def matches(self, asked: Chain, now: float) -> dict[str, int]:
        found: dict[str, int] = {}
        for (digest, tokens), (endpoint, ttl) in product(asked, TTLS.items()):
            if now - self.last.get((digest, endpoint), -inf) < ttl:
                found[endpoint] = tokens
        return found


@given(sends, st.lists(chains, min_size=1, max_size=4))
def test_it_finds_what_a_list_of_all_sends_would(history: list[Any], asked: list[Chain]) -> None:
    """News of others come late: some of them are older than what is known."""
    index, everything, now = PrefixIndex(), Everything(), 0.0
    for chain, endpoint, pause, age in history:
        now += pause
        index.sent(chain, endpoint, now - age)
        everything.sent(chain, endpoint, now - age)
    for one in asked:
        assert index.matches(one, TTLS, now) == everything.matches(one, now)


@given(sends, st.integers(1, 20), chains)
def test_it_keeps_the_last_half_and_invents_nothing(history: list[Any], stretches: int, asked: Chain) -> None:
    limit = 2 * stretches * STRETCH_BYTES
    index, everything = PrefixIndex(limit), Everything()
    for chain, endpoint, _, _ in history:
        index.sent(chain, endpoint, 0.0)
        everything.sent(chain, endpoint, 0.0)
    matched, known = index.matches(asked, TTLS, 0.0), everything.matches(asked, 0.0)
    assert all(tokens <= known[endpoint] for endpoint, tokens in matched.items())
    size = 0
    for chain, endpoint, _, _ in reversed(history):
        size += len(chain) * (STRETCH_BYTES + HASH_BYTES)  # at most
        if size > limit // 2:
            break
        assert index.matches(chain, dict.fromkeys("abc", 1.0), 0.0)[endpoint] == chain[-1][1]


@pytest.mark.parametrize(("splits", "forgotten"), [(4, False), (5, True)])
def test_a_stretch_that_is_split_takes_the_room_of_two(splits: int, forgotten: bool) -> None:
    half = 6 * STRETCH_BYTES + 64 * HASH_BYTES  # the room of 64 hashes in six stretches
    index, stem = PrefixIndex(2 * half), tuple((place, 1) for place in range(1, 65))
    index.sent(stem, "a", 0.0)
    for split in range(splits):
        index.sent(stem[: 32 >> split], "a", 0.0)
    assert len(index) == splits + 1
    index.sent(tuple((100 + place, 1) for place in range((half - STRETCH_BYTES) // HASH_BYTES)), "a", 0.0)
    index.sent(((1_000, 1),), "a", 0.0)
    assert (index.matches(stem, TTLS, 0.0) == {}) is forgotten


# --- the hit rate -----------------------------------------------------------------------------------------------


def test_a_hit_rate_in_figures() -> None:
    """What is declared counts 2 prompts of what is usual, which counts 2 recent ones; of what was sent before, and of
    the prompt at most."""
    rate = HitRate()
    assert rate.probability(0.0) == HIT_RATE
    rate.add(0.5, 0.25, 0.0)
    rate.add(2.0, 0.5, 0.0)
    rate.add(0.5, 0.9, 0.0)
    usual = (0.5 + 0.5 + 1.0 + 2 * HIT_RATE) / 5
    assert rate.probability(0.0) == pytest.approx((2.0 + 2 * usual) / 5)


# --- re-reads ----------------------------------------------------------------------------------------------------


def test_published_until_own_traffic_has_been_seen() -> None:
    assert Rereads().usual == REREADS


def test_it_learns_tokens_that_were_sent_before_over_those_that_were_not() -> None:
    rereads = Rereads()
    for _ in range(10_000):
        rereads.add(10_000, 7_500, 0.0)
    assert rereads.usual == pytest.approx(3.0, rel=0.1)


def test_prompts_in_no_cache_lower_the_rereads() -> None:
    rereads = Rereads()
    rereads.add(REREADS_TOKENS, 0, 0.0)
    assert rereads.usual == pytest.approx(REREADS / 2)


def test_what_was_learned_fades() -> None:
    rereads = Rereads()
    rereads.add(3 * REREADS_TOKENS, 0, 0.0)
    assert rereads.usual == pytest.approx(REREADS / 4)
    rereads.add(0, 0, REREADS_HALF_LIFE)
    assert rereads.usual == pytest.approx(REREADS / 2.5)


def test_no_more_is_known_than_there_is() -> None:
    rereads = Rereads()
    rereads.add(1_000, 5_000, 0.0)
    assert rereads.usual == pytest.approx((1_000 + REREADS * REREADS_TOKENS) / REREADS_TOKENS)
    assert repr(rereads) == "<Rereads 1.00>"
