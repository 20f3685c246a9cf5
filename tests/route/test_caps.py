"""Plans under a cap: nobody above the share while anybody else is left, and returning prompts keep their place."""

from dataclasses import replace
from math import e
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.route.filters import Tier
from gateway.route.fleet import Fleet
from gateway.route.plan import Plan
from gateway.route.toll import FOR_NEW, SLACK_REQUESTS, SLACK_TOKENS
from gateway.types import Cap, Pick, Price, Request, Usage
from tests.route.world import CHEAPEST, NOW, endpoint, fail, plan, priced, request, try_of

LONG = 1e9  # a window in which everything so far counts
CAPPED = replace(CHEAPEST, cap=Cap(0.4, LONG))
LARGE = request(prompt_tokens=20_000)


def send(fleet: Fleet, name: str = "") -> Plan:
    """Plans, and sends to this endpoint or else the first of the plan, which answers as is expected."""
    made = plan(fleet, LARGE, CAPPED)
    tried = try_of(made, LARGE, name)
    fleet.sent(tried, NOW)
    fleet.succeeded(tried, Usage(20_000, 0, 350, 0, "estimated"), 1.0, 30.0, NOW)
    return made


def filled(up_to: float, **prices: float) -> Fleet:
    """A fleet whose first endpoint was sent nearly so many tokens beyond its share of all."""
    made = priced(**prices)
    for _ in range(int(up_to / 0.6 / 20_350)):
        send(made, "a")
    return made


def test_the_toll_sends_requests_elsewhere_before_the_limit_does() -> None:
    two = priced(a=0.20, b=0.21)
    firsts = []
    for _ in range(30):
        made = send(two)
        assert made.ranked[0].tier is Tier.GOOD
        firsts.append(made.ranked[0].endpoint.id)
    assert firsts[0] == "a"
    assert "b" in firsts
    assert plan(two, LARGE, CAPPED).ranked[0].parts.toll_usd >= 0


def test_the_toll_is_part_of_the_score() -> None:
    two = priced(a=0.20, b=0.40)
    send(two)
    choice = plan(two, LARGE, CAPPED).ranked[0]
    assert choice.endpoint.id == "a"
    assert choice.parts.toll_usd > 0
    assert choice.parts.plain == choice.parts.usd + choice.parts.reread_usd + choice.parts.toll_usd


def test_an_endpoint_above_its_share_comes_last_of_the_healthy_ones_with_its_reason() -> None:
    two = filled(a=0.1, b=9.0, up_to=SLACK_TOKENS)
    made = plan(two, LARGE, CAPPED)
    assert [choice.endpoint.id for choice in made.ranked] == ["b", "a"]
    assert made.ranked[1].tier is Tier.OVER_CAP
    assert made.ranked[1].why is not None
    assert made.ranked[1].why.rule == "cap.share"


def test_a_cap_yields_before_availability() -> None:
    two = filled(a=0.1, b=9.0, up_to=SLACK_TOKENS)
    two.distrust("b", "account 402", NOW, 0.0)
    made = plan(two, LARGE, CAPPED)
    assert ([choice.endpoint.id for choice in made.ranked], made.relaxed) == (["a"], "over cap")


def test_a_cap_yields_to_a_rate_limit_too() -> None:
    two = filled(a=0.1, b=9.0, up_to=SLACK_TOKENS)
    tried = try_of(plan(two, LARGE, CAPPED), LARGE)
    two.sent(tried, NOW)
    fail(two, tried, "rate_limited", NOW, retry_after=30.0)
    assert [choice.endpoint.id for choice in plan(two, LARGE, CAPPED).ranked] == ["a", "b"]


def test_the_last_of_the_slack_is_for_prompts_that_return() -> None:
    two = filled(a=0.1, b=9.0, up_to=FOR_NEW * SLACK_TOKENS)
    turn = request(prompt_tokens=20_000, prefix=((7, 20_000),))
    two.prefixes.sent(turn.prefix, "a", NOW)
    assert plan(two, LARGE, CAPPED).ranked[0].endpoint.id == "b"
    assert plan(two, turn, CAPPED).ranked[0].endpoint.id == "a"


@pytest.mark.parametrize(("known", "first"), [(10_000, "a"), (9_999, "b")])
def test_a_prompt_returns_where_half_of_it_is_known(known: int, first: str) -> None:
    two = filled(a=0.1, b=9.0, up_to=FOR_NEW * SLACK_TOKENS)
    two.prefixes.sent(((7, known),), "a", NOW)
    turn = request(prompt_tokens=20_000, prefix=((7, known), (8, 20_000)))
    assert plan(two, turn, CAPPED).ranked[0].endpoint.id == first


def test_other_policies_are_not_concerned() -> None:
    two = filled(a=0.1, b=9.0, up_to=SLACK_TOKENS)
    other = replace(CAPPED, name="other")
    uncapped = replace(CAPPED, cap=Cap())
    assert [plan(two, LARGE, policy).ranked[0].endpoint.id for policy in (other, uncapped)] == ["a", "a"]


def test_answers_that_are_longer_than_expected_count() -> None:
    two = priced(a=0.1, b=9.0)
    tried = try_of(plan(two, LARGE, CAPPED), LARGE)
    two.sent(tried, NOW)
    two.billed(tried, Usage(20_000, 0, 1_000_000, 0, "host"))
    assert plan(two, LARGE, CAPPED).ranked[0].endpoint.id == "b"


def test_what_was_not_billed_does_not_count() -> None:
    """A request that was refused, or left before its host began."""
    two = priced(a=0.1, b=9.0)
    for _ in range(200):
        tried = try_of(plan(two, LARGE, CAPPED), LARGE)
        two.sent(tried, NOW)
        two.billed(tried, Usage())
    toll = tried.demand.toll
    assert toll is not None
    assert toll.share("a") == 0.0


# --- whatever happens -------------------------------------------------------------------------------------------

prices = st.lists(st.floats(0.05, 2.0), min_size=2, max_size=6)
happenings = st.lists(
    st.tuples(
        st.integers(100, 160_000),  # tokens
        st.integers(0, 3),  # which conversation; 0 is a new one
        st.sampled_from(["ok", "ok", "ok", "server", "rate_limited", "left"]),
        st.sampled_from([0.0, 1.0, 40.0]),  # seconds since the one before
    ),
    max_size=120,
)
shares = st.sampled_from([0.1, 0.3, 0.5, 0.9])
windows = st.sampled_from([60.0, LONG])


@settings(max_examples=60)
@given(prices, happenings, shares, windows, st.integers(0, 99))
def test_never_more_than_the_cap_while_anything_else_is_left(
    found: list[float], history: list[tuple[int, int, str, float]], share: float, window: float, seed: int
) -> None:
    policy = replace(CAPPED, cap=Cap(share, window), pick=Pick("sample", edge=0.5, explore=0.2))
    hosts = [endpoint(name, price=Price(price, price, price / 4)) for name, price in zip("abcdef", found, strict=False)]
    one, mirrored = Fleet(hosts), Fleet(hosts[::-1])
    chance, same_chance = Random(seed).random, Random(seed).random
    loads: dict[str, float] = dict.fromkeys(one.states, 0.0)
    now = NOW
    for tokens, conversation, what, pause in history:
        now += pause
        for name in loads:
            loads[name] *= e ** (-pause / window)
        asked = request(prompt_tokens=tokens, prefix=((conversation, tokens),) if conversation else ())
        made = plan(one, asked, policy, now, chance)
        other = plan(mirrored, asked, policy, now, same_chance)
        ids = [choice.endpoint.id for choice in made.ranked]
        assert ids == [choice.endpoint.id for choice in other.ranked], "the order of endpoints does not matter"

        first = made.ranked[0]
        loads[first.endpoint.id] += made.demand.tokens
        if first.tier < Tier.OVER_CAP:
            slack = max(SLACK_TOKENS, SLACK_REQUESTS * max(size for size, *_ in history))
            assert loads[first.endpoint.id] <= share * sum(loads.values()) + slack + 1
        else:
            assert all(choice.tier >= Tier.OVER_CAP for choice in made.ranked), "nothing better was left"
        live(one, made, asked, what, now)
        live(mirrored, other, asked, what, now)


def live(fleet: Fleet, made: Plan, asked: Request, what: str, now: float) -> None:
    tried = try_of(made, asked)
    fleet.sent(tried, now)
    if what == "ok":
        expected = tried.demand
        usage = Usage(expected.prompt_tokens, 0, round(expected.output_tokens), 0, "estimated")
        fleet.succeeded(tried, usage, 1.0, 30.0, now)
    elif what == "left":
        fleet.released(tried, True, now)
    else:
        fail(fleet, tried, what, now)  # type: ignore[arg-type]
