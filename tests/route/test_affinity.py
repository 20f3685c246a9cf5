"""The prefix index finds what was sent within the TTL, along cumulative hashes only, and stays bounded."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.route.affinity import PrefixIndex

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


def test_an_endpoint_without_a_cache_or_out_of_use_never_matches() -> None:
    index = PrefixIndex()
    index.sent(TURN, "none", 0.0)
    index.sent(TURN, "gone", 0.0)
    assert index.matches(TURN, {"none": 0.0}, 0.0) == {}


def test_what_is_sent_again_and_again_outlives_what_is_not() -> None:
    index = PrefixIndex(limit=100)
    index.sent(((-1, 1),), "a", 0.0)
    for number in range(200):
        index.sent(((-2, 1), (number, 2)), "a", 0.0)
    assert index.matches(((-2, 1),), TTLS, 1.0) == {"a": 1}
    assert index.matches(((-1, 1),), TTLS, 1.0) == {}


chains = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(
    lambda path: tuple((hash(tuple(path[: end + 1])), 10 * (end + 1)) for end in range(len(path)))
)
sends = st.lists(st.tuples(chains, st.sampled_from(["a", "b", "c"]), st.floats(0.0, 100.0)), max_size=60)


@given(sends, chains)
def test_it_finds_what_a_list_of_all_sends_would(history: list[Any], asked: tuple[tuple[int, int], ...]) -> None:
    index, now = PrefixIndex(), 0.0
    last: dict[tuple[int, str], float] = {}
    for chain, endpoint, pause in history:
        now += pause
        index.sent(chain, endpoint, now)
        last |= {(digest, endpoint): now for digest, _ in chain}
    expected = {
        endpoint: max(tokens for digest, tokens in asked if now - last.get((digest, endpoint), -1e9) < ttl)
        for endpoint, ttl in TTLS.items()
        if any(now - last.get((digest, endpoint), -1e9) < ttl for digest, _ in asked)
    }
    assert index.matches(asked, TTLS, now) == expected


@given(sends, st.integers(2, 20))
def test_it_never_holds_more_than_its_limit_and_keeps_the_last_half(history: list[Any], limit: int) -> None:
    index = PrefixIndex(limit)
    latest: dict[int, None] = {}
    for chain, endpoint, _ in history:
        index.sent(chain, endpoint, 0.0)
        for digest, _ in chain:
            latest.pop(digest, None)
            latest[digest] = None
        assert len(index) <= limit
    for digest in list(latest)[-(limit // 2) :]:
        assert index.matches(((digest, 1),), dict.fromkeys("abc", 1.0), 0.0)
