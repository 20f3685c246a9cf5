"""A cap holds over all workers: limits count what all sent, tolls follow it, and nothing is counted twice."""

from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.posted import Posted
from gateway.route.toll import MOST, MOST_POLICIES, TOLL_REQUESTS, TokenCounts, Toll, Tolls
from gateway.types import Cap, Policy

LONG = Cap(0.3, 1e9)  # everything so far counts
NAMES = "abcd"
PRICES = {"a": 0.20e-6, "b": 0.22e-6, "c": 0.24e-6, "d": 0.26e-6}


def sent(toll: Toll, endpoints: str, now: float = 0.0, tokens: float = 10_000.0) -> Toll:
    for endpoint in endpoints:
        toll.sent(endpoint, tokens, PRICES[endpoint] * tokens, now)
    return toll


def posted(toll: Toll, now: float = 0.0, age: float = 0.0, name: bytes = b"other") -> Posted[TokenCounts]:
    """What this worker published `age` seconds before `now`, on a store whose clock shows the same."""
    return Posted(name, now - age, age, toll.own(now - age))


def exchange(workers: list[Toll], now: float) -> None:
    messages = [posted(toll, now, name=b"%d" % place) for place, toll in enumerate(workers)]
    for place, toll in enumerate(workers):
        toll.merge([message for other, message in enumerate(messages) if other != place], now)


def cheapest(toll: Toll, names: str) -> str:
    return min(names, key=lambda name: (PRICES[name] + toll.rates.get(name, 0.0), name))


# --- limits -----------------------------------------------------------------------------------------------------


def test_shares_and_limits_count_what_all_sent() -> None:
    here, there = sent(Toll(LONG), "b" * 100), sent(Toll(LONG), "a" * 300)
    assert here.full(0.0, 0.0) == ["b"], "which has all that this worker knows of"
    here.merge([posted(there)], 0.0)
    assert here.share("a") == 0.75
    assert here.full(0.0, 0.0) == ["a"]


def test_what_others_sent_fades_with_its_age() -> None:
    rule = Cap(0.3, 600.0)
    here, there = sent(Toll(rule), "b", now=600.0), sent(Toll(rule), "a", now=0.0)
    here.merge([posted(there, now=600.0, age=60.0)], 600.0)
    assert here.share("a") == pytest.approx(1 / (1 + 2.718281828))


def test_without_the_store_it_goes_on_fading() -> None:
    rule = Cap(0.3, 600.0)
    here = sent(Toll(rule), "b")
    here.merge([posted(sent(Toll(rule), "a"))], 0.0)
    sent(here, "b", now=600.0)
    assert here.share("a") == pytest.approx(1 / (2 + 2.718281828))
    assert sent(here, "b", now=600.0 * 50).share("a") == pytest.approx(0.0, abs=1e-9)


def test_a_worker_that_dies_is_forgotten() -> None:
    here, there = sent(Toll(LONG), "b"), sent(Toll(LONG), "a")
    here.merge([posted(there)], 0.0)
    tolls = dict(here.rates)
    here.merge([], 60.0)
    assert here.share("a") == 0
    assert here.rates == tolls, "what it added to tolls was true"


def test_only_what_it_sent_itself_is_published() -> None:
    here = sent(Toll(LONG), "b")
    here.merge([posted(sent(Toll(LONG), "aac"))], 0.0)
    assert here.own(0.0).tokens == {"b": 10_000}


def test_corrections_reach_the_others() -> None:
    here, there = sent(Toll(LONG), "b"), sent(Toll(LONG), "a")
    here.merge([posted(there, 0.0)], 0.0)
    there.corrected("a", -5_000.0, 0.0)
    here.merge([posted(there, 1.0)], 1.0)
    assert here.share("a") == pytest.approx(1 / 3)


def test_another_rule_is_another_matter() -> None:
    here, there = sent(Toll(LONG), "b"), sent(Toll(Cap(0.4, 1e9)), "a")
    here.merge([posted(there)], 0.0)
    assert here.share("b") == 1


# --- tolls ------------------------------------------------------------------------------------------------------


def test_what_others_send_raises_and_lowers_tolls() -> None:
    here, there = Toll(LONG), Toll(LONG)
    exchange([sent(here, "b"), sent(there, "a")], 0.0)
    exchange([here, sent(there, "a" * 10)], 1.0)
    high = here.rates["a"]
    assert high > 0
    exchange([here, sent(there, "bcd" * 10)], 2.0)
    assert here.rates.get("a", 0.0) < high


def test_tolls_are_those_of_one_worker_that_sent_all() -> None:
    one, (here, there), random = Toll(LONG), (Toll(LONG), Toll(LONG)), Random(1)
    for second in range(60):
        for toll in (here, there):
            endpoint = random.choice("aaab") if toll is here else random.choice("abcd")
            sent(toll, endpoint, float(second))
            sent(one, endpoint, float(second))
        exchange([here, there], float(second))
    assert here.rates["a"] == pytest.approx(one.rates["a"], rel=0.1)
    assert there.rates["a"] == pytest.approx(one.rates["a"], rel=0.1)


def test_what_fades_at_another_worker_was_not_taken_back() -> None:
    rule = Cap(0.3, 600.0)
    here, there = sent(Toll(rule), "b"), sent(Toll(rule), "a")
    here.merge([posted(there)], 0.0)
    tolls = dict(here.rates)
    here.merge([posted(there, 600.0)], 600.0)
    assert here.rates == pytest.approx(tolls)
    sent(there, "c", now=600.0)
    here.merge([posted(there, 600.0)], 600.0)
    assert here.own(600.0).above["c"] == pytest.approx(7_000)


def test_a_store_whose_clock_goes_back_changes_no_toll() -> None:
    here, load = sent(Toll(Cap(0.3, 1.0)), "b"), TokenCounts(Cap(0.3, 1.0), {"a": 10_000.0}, {}, 10_000.0, 0.002)
    here.merge([Posted(b"other", 1e6, 0.0, load)], 0.0)
    tolls = dict(here.rates)
    here.merge([Posted(b"other", 5.0, 0.0, load)], 0.0)
    assert here.rates == tolls


def test_others_that_send_below_a_share_leave_no_toll_there() -> None:
    here = sent(Toll(Cap(0.5, 1e9)), "a")
    there = Toll(Cap(0.5, 1e9))
    here.merge([posted(there)], 0.0)
    sent(there, "a" + "b" * 10)
    here.merge([posted(there, 1.0)], 1.0)
    assert here.rates.keys() == {"b"}
    even = sent(Toll(Cap(0.5, 1e9)), "")
    even.merge([Posted(b"other", 0.0, 0.0, TokenCounts(Cap(0.5, 1e9), {}, {}, 10_000.0, 0.002))], 0.0)
    even.merge([Posted(b"other", 1.0, 0.0, TokenCounts(Cap(0.5, 1e9), {"a": 9.0, "b": 9.0}, {}, 1.0, 1.0))], 1.0)
    assert even.rates == {}


def test_a_worker_alone_merges_nothing() -> None:
    here = Toll(LONG)
    here.merge([], 0.0)
    assert here.rates == {}
    assert here.share("a") == 0


def test_only_a_newcomer_takes_over_tolls() -> None:
    here = sent(Toll(LONG), "a" * 20)
    own = here.rates["a"]
    here.merge([posted(sent(Toll(LONG), "a"))], 0.0)
    assert here.rates["a"] == own, "which is higher"
    here.merge([Posted(b"late", 1.0, 0.0, TokenCounts(LONG, {"a": 1e9}, {"a": 1e9}, 1e5, 1.0))], 1.0)
    assert here.rates["a"] == own


def test_a_newcomer_takes_one_request_as_usual() -> None:
    here = Toll(LONG)
    here.merge([posted(sent(Toll(LONG), "a" * 40))], 0.0)
    here.sent("a", 20_000, 0.004, 0.0)
    assert here.own(0.0).size == 15_000
    assert here.own(0.0).usd == pytest.approx((PRICES["a"] * 10_000 + 0.004) / 2)


def test_a_newcomer_begins_with_the_tolls_of_the_one_that_sent_most() -> None:
    newcomer, little, much = Toll(LONG), sent(Toll(LONG), "b"), sent(Toll(LONG), "a" * 40)
    newcomer.merge([posted(little, name=b"1"), posted(much, name=b"2")], 0.0)
    assert newcomer.rates == much.rates


def test_tolls_are_bounded_whatever_others_send() -> None:
    here = sent(Toll(LONG), "b")
    for second in range(5):
        load = TokenCounts(LONG, {"a": 1e12 * second}, {"a": 1e15}, 1.0, 1.0)
        here.merge([Posted(b"bad", float(second), 0.0, load)], float(second))
    assert here.rates["a"] <= MOST * here.own(0.0).usd / here.own(0.0).size + 1e-12


def shares(shared: bool, seed: int, counts: tuple[int, ...] = (1, 1)) -> dict[str, float]:
    """Workers that send each second; the first may use only the first two endpoints. Shares of all tokens."""
    workers, random, loads = [Toll(LONG) for _ in counts], Random(seed), dict.fromkeys(NAMES, 0.0)
    for second in range(2_000):
        for place, toll in enumerate(workers):
            for _ in range(counts[place]):
                tokens = random.uniform(1_000.0, 20_000.0)
                name = cheapest(toll, NAMES if place else NAMES[:2])
                sent(toll, name, float(second), tokens)
                loads[name] += tokens
        if shared:
            exchange(workers, float(second))
    total = sum(loads.values())
    return {name: load / total for name, load in loads.items()}


@given(st.integers(0, 2), st.sampled_from([(1, 1), (2, 3), (1, 2, 1)]))
def test_the_cap_holds_for_the_sum_where_one_worker_cannot_keep_it(seed: int, counts: tuple[int, ...]) -> None:
    apart, together = shares(False, seed, counts), shares(True, seed, counts)
    assert max(apart.values()) > 0.35
    assert max(together.values()) <= 0.3 + MOST * TOLL_REQUESTS / 4_000


# --- any order, repeated ----------------------------------------------------------------------------------------

amounts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**6).map(float), max_size=4)
loads = st.builds(TokenCounts, st.just(LONG), amounts, amounts, st.floats(1.0, 1e5), st.floats(0.0, 1.0))
messages = st.lists(
    st.builds(Posted, st.sampled_from([b"1", b"2", b"3"]), st.just(5.0), st.floats(0.0, 60.0), loads),
    max_size=3,
    unique_by=lambda one: one.worker,
)


@given(messages, st.text(NAMES, max_size=5))
def test_neither_order_nor_repetition_matters(others: list[Posted[TokenCounts]], own: str) -> None:
    for order in permutations(others):
        here, again = sent(Toll(LONG), own), sent(Toll(LONG), own)
        here.merge(others, 5.0)
        for _ in range(3):
            again.merge(order, 5.0)
        assert again.rates == pytest.approx(here.rates)
        assert [again.share(name) for name in NAMES] == pytest.approx([here.share(name) for name in NAMES])


# --- by policy --------------------------------------------------------------------------------------------------


def test_a_policy_that_was_not_served_here_is_known_with_its_first_request() -> None:
    here, there = Tolls(), Tolls()
    policy = Policy("p", cap=LONG)
    toll = there.of(policy)
    assert toll is not None
    sent(toll, "aaab")
    here.merge("p", [Posted(b"other", 0.0, 0.0, there.own(0.0)["p"])], 0.0)
    known = here.of(policy)
    assert known is not None
    assert known.share("a") == 0.75
    assert here.own(0.0) == {}, "nothing was sent here"


def test_what_others_say_takes_no_toll_away() -> None:
    tolls = Tolls()
    first = tolls.of(Policy("first", cap=LONG))
    for number in range(MOST_POLICIES + 1):
        tolls.merge(f"p{number}", [Posted(b"other", 0.0, 0.0, TokenCounts(LONG, {"a": 1.0}, {}, 1.0, 1.0))], 0.0)
    assert len(tolls.policies) == MOST_POLICIES
    assert tolls.of(Policy("first", cap=LONG)) is first


def test_a_policy_that_no_other_serves_is_forgotten_there() -> None:
    tolls = Tolls()
    toll = tolls.of(Policy("p", cap=LONG))
    assert toll is not None
    tolls.merge("p", [Posted(b"other", 0.0, 0.0, TokenCounts(LONG, {"a": 1.0}, {}, 1.0, 1.0))], 0.0)
    assert toll.share("a") == 1
    tolls.merge("p", [], 0.0)
    assert toll.share("a") == 0
