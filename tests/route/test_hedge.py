"""What hedging may cost, and whom it asks."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.fleet import Fleet
from gateway.route.hedge import (
    ENOUGH,
    EVERY,
    KEPT,
    LATE_OVER,
    MOST_BUDGETS,
    SAMPLES,
    USED,
    Budget,
    Budgets,
    at_stake,
    median_wait,
    rival,
)
from gateway.route.plan import Choice
from gateway.route.waits import MIDDLES, NORMAL, PREFILL, TYPICAL
from gateway.types import Delay, Hedge, Limits, Pick, Policy, Price, Priors
from tests.route.world import CHEAPEST, NOW, attempt, endpoint, fail, fresh, plan, request

HEDGE = Hedge(Delay(seconds=1.0), 0.03, 0.01)
GENEROUS = Hedge(Delay(seconds=1.0), 1.0, 1.0)
RIVAL = plan(Fleet([endpoint()]), request(), CHEAPEST).ranked[0]


def rich(rule: Hedge = GENEROUS) -> Budget:
    """A budget that has saved a dollar and a few hedges."""
    budget = Budget(rule)
    for _ in range(5):
        budget.begin()
        budget.spent(1.0)
    return budget


def requests_until_allowed(budget: Budget) -> int:
    for number in range(1, 1_000):
        budget.begin()
        if budget.allows():
            return number
    raise AssertionError("never")


# --- the shares -------------------------------------------------------------------------------------------------


@given(
    st.floats(0.001, 1.0),
    st.floats(0.001, 1.0),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0)), max_size=200),
)
def test_neither_share_is_ever_exceeded(share: float, spend: float, story: list[tuple[float, float, float]]) -> None:
    """Requests of any cost, each hedged if it may be, and losers that bill at most what was at stake."""
    budget = Budget(Hedge(Delay(seconds=1.0), share, spend))
    hedges = 0
    spent = lost = 0.0
    for asked, (cost, stake, billed) in enumerate(story, 1):
        budget.begin()
        if budget.allows() and budget.affords(stake):
            budget.sent(stake, RIVAL)
            hedges += 1
            budget.spent(stake * billed)
            budget.settled(stake, stake * billed, 1_000)
            spent += stake * billed
            lost += stake * billed
        budget.spent(cost)
        spent += cost
        assert hedges <= share * asked + 1e-9
        assert lost <= spend * spent + 1e-9


@pytest.mark.parametrize(("share", "first"), [(1.0, 1), (0.03, 34), (0.01, 100)])
def test_a_share_is_saved_up_before_it_is_used(share: float, first: int) -> None:
    assert requests_until_allowed(Budget(Hedge(Delay(seconds=1.0), share, 1.0))) == first


def test_a_small_share_is_saved_up_too() -> None:
    assert requests_until_allowed(Budget(Hedge(Delay(seconds=1.0), 0.0011, 1.0))) == 910


def test_no_share_allows_nothing() -> None:
    budget = Budget(Hedge(Delay(seconds=1.0), 0.0, 0.0))
    for _ in range(100):
        budget.begin()
        budget.spent(1.0)
    assert not budget.allows()
    assert not budget.affords(1e-9)
    assert budget.affords(0.0), "what costs nothing is no spend"


def test_savings_are_worth_a_few_hedges_at_most() -> None:
    budget = Budget(HEDGE)
    for _ in range(10_000):
        budget.begin()
        budget.spent(0.001)
    sent = 0
    while budget.allows():
        budget.sent(0.0, RIVAL)
        sent += 1
    assert sent == KEPT
    assert not budget.affords(0.001 * KEPT * 1.01)
    assert budget.affords(0.001 * KEPT * 0.9)


def test_savings_in_figures() -> None:
    """What an attempt costs is learned over 50; so is what a hedge adds for each token that it reads."""
    budget = Budget(Hedge(Delay(quantile=0.9), 0.5, 0.1))
    assert budget._payable() == inf
    budget.begin()
    budget.spent(1.0)
    assert repr(budget) == "<Budget 0.50 hedges, $0.100000, 0% late>"
    budget.spent(1.0)
    cost = 1 / 50 + (1 - 1 / 50) / 50
    budget.settled(0.5, 0.2, 100)
    assert repr(budget) == "<Budget 0.50 hedges, $0.500000, 0% late>"
    assert budget._payable() == pytest.approx(USED * 0.1 * cost / 0.002)
    budget.settled(0.0, 0.102, 1)
    assert budget._payable() == pytest.approx(USED * 0.1 * cost / 0.004)
    budget.settled(0.0, 0.0, 0.0)
    assert budget._payable() == pytest.approx(USED * 0.1 * cost / (0.004 - 0.004 / 50))


def test_late_requests_count_for_a_hundred() -> None:
    budget = Budget(replace(GENEROUS, after=Delay(seconds=1.0)))
    for _ in range(2):
        budget.begin()
    for _ in range(24):
        budget.late()
    assert budget.allows()
    assert repr(budget).endswith("24% late>")
    for _ in range(2):
        budget.late()
    assert not budget.allows()
    for _ in range(7):
        budget.begin()
    assert budget.allows(), "0.26 * 0.99^7"


def test_a_rivals_times_are_those_of_the_last_fifty() -> None:
    budget = rich()
    budget.sent(0.0, RIVAL)
    usual, scatter = median_wait(RIVAL), RIVAL.state.waits.scatter[RIVAL.parts.size]
    assert budget._rival == pytest.approx((0.5 + (usual - 0.5) / 50, 0.6 + (scatter - 0.6) / 50))


def test_what_is_at_stake_is_set_aside_until_the_bill_is_known() -> None:
    budget = rich()
    before = 1.0
    assert budget.affords(before)
    while budget.affords(before):
        budget.sent(before, RIVAL)
    budget.settled(before, 0.0, 1_000)
    assert budget.affords(before)


def test_what_is_at_stake_is_free_again_where_the_loser_has_failed() -> None:
    budget = rich()
    budget.sent(1.0, RIVAL)
    assert not budget.affords(1.0)
    budget.released(1.0)
    assert budget.affords(1.0)


def test_a_loser_that_billed_more_is_paid_off_before_the_next_hedge() -> None:
    budget = rich()
    budget.sent(1.0, RIVAL)
    budget.settled(1.0, 5.0, 1_000)
    budget.spent(2.0)
    assert not budget.affords(0.01)
    budget.spent(2.0)
    assert budget.affords(0.01)


def test_nothing_is_hedged_while_a_large_part_is_late() -> None:
    budget = Budget(GENEROUS)
    for _ in range(round(LATE_OVER)):
        budget.begin()
        budget.late()
    assert not budget.allows()
    for _ in range(round(LATE_OVER)):
        budget.begin()
        budget.begin()
    assert budget.allows()


def test_a_low_quantile_expects_many_to_be_late() -> None:
    budget = Budget(replace(GENEROUS, after=Delay(quantile=0.5)))
    for number in range(round(10 * LATE_OVER)):
        budget.begin()
        if number % 2:
            budget.late()
    assert budget.allows()


# --- whose budget -----------------------------------------------------------------------------------------------


def test_a_policy_that_does_not_hedge_has_no_budget() -> None:
    assert Budgets().of(Policy("p"), "m") is None


def test_a_budget_outlives_a_reload_of_its_policy() -> None:
    budgets = Budgets()
    policy = Policy("p", hedge=HEDGE)
    budget = budgets.of(policy, "m")
    assert budget is not None
    assert budgets.of(policy, "m") is budget
    changed = replace(policy, hedge=replace(HEDGE, max_share=0.5))
    assert budgets.of(changed, "m") is budget
    assert budget.rule.max_share == 0.5
    assert budgets.of(replace(policy, name="other"), "m") is not budget


def test_each_model_has_a_budget_of_its_own() -> None:
    budgets = Budgets()
    assert budgets.of(Policy("p", hedge=HEDGE), "m") is not budgets.of(Policy("p", hedge=HEDGE), "n")


def test_names_without_end_do_not_fill_the_memory() -> None:
    """Presets and reloads bring ever new names of policies."""
    budgets = Budgets()
    first = budgets.of(Policy("p", hedge=HEDGE), "m")
    made = [budgets.of(Policy(f"p{number}", hedge=HEDGE), "m") for number in range(MOST_BUDGETS)]
    assert budgets.of(Policy("p0", hedge=HEDGE), "m") is made[0], "only the oldest makes room"
    assert budgets.of(Policy("p", hedge=HEDGE), "m") is not first
    assert budgets.of(Policy(f"p{MOST_BUDGETS - 1}", hedge=HEDGE), "m") is made[-1]


# --- when -------------------------------------------------------------------------------------------------------


def only(fleet: Fleet, **asked: int) -> Choice:
    return plan(fleet, request(**asked), CHEAPEST).ranked[0]


def waits(budget: Budget, seconds: Sequence[float], tokens: float = 1_000) -> Budget:
    for one in seconds:
        budget.add_wait(one, tokens)
    return budget


def share_late(budget: Budget, seconds: Sequence[float], choice: Choice = RIVAL) -> float:
    delay = budget.late_after(choice)
    return sum(one > delay for one in seconds) / len(seconds)


SPREAD = [1.0 + number / 1_000 for number in range(EVERY * 8)]  # all different, so that a delay tells a share


def test_a_time_is_a_time() -> None:
    budget = waits(Budget(HEDGE), [5.0] * 2 * ENOUGH)
    assert budget.late_after(only(Fleet([endpoint()]))) == 1.0


def test_a_quantile_is_one_delay_for_all_requests_of_the_policy() -> None:
    """Whichever endpoint they went to: measured by its own answers, a slow one would never be late."""
    slow, soon = (only(Fleet([endpoint(priors=Priors(ttft_p50=ttft))])) for ttft in (9.0, 0.5))
    for share, seconds in ((0.97, 4.0), (0.80, 1.0)):
        budget = Budget(Hedge(Delay(quantile=share), 1.0, 1.0))
        waits(budget, ([1.0] * 9 + [4.0]) * 20)
        assert budget.late_after(slow) == budget.late_after(soon) == seconds


@pytest.mark.parametrize(("quantile", "max_share", "late"), [(0.95, 1.0, 0.05), (0.90, 0.03, 0.03), (0.99, 0.03, 0.01)])
def test_as_many_are_late_as_the_quantile_and_the_share_allow(quantile: float, max_share: float, late: float) -> None:
    budget = waits(Budget(Hedge(Delay(quantile=quantile), max_share, 1.0)), SPREAD)
    assert share_late(budget, SPREAD) == pytest.approx(late, abs=1 / len(SPREAD))


def test_a_quantile_follows_what_is_learned() -> None:
    budget = Budget(Hedge(Delay(quantile=0.9), 1.0, 1.0))
    assert waits(budget, [1.0] * ENOUGH).late_after(RIVAL) == 1.0
    assert waits(budget, [5.0] * SAMPLES).late_after(RIVAL) == 5.0


def test_while_too_little_is_known_it_is_the_endpoints_expected_95th() -> None:
    choice = only(Fleet([endpoint(priors=Priors(ttft_p50=2.0))]))
    expected = choice.state.waits.p95[choice.parts.size] * choice.parts.pace
    budget = Budget(Hedge(Delay(quantile=0.97), 1.0, 1.0))
    assert expected > 2.0
    assert waits(budget, [1.0] * (ENOUGH - 1)).late_after(choice) == expected
    assert waits(budget, [1.0]).late_after(choice) == 1.0


def test_a_prompt_that_is_too_large_to_be_read_twice_is_never_late() -> None:
    """One in ten is large and slow: the spend pays either for a few of those, or for all that are small and late."""
    budget = Budget(Hedge(Delay(quantile=0.95), 0.05, 0.01))
    for _ in range(300):
        budget.spent(0.01)
        budget.settled(0.0, 1e-6 * 1_000, 1_000)  # a dollar for 1M tokens: 100 tokens a request
    for _ in range(4):
        waits(waits(waits(budget, [1.0] * 196), [4.0] * 12), [20.0] * 2, tokens=100_000)
    fleet = Fleet([endpoint()])
    assert budget.late_after(only(fleet, prompt_tokens=1_000)) == 1.0
    assert budget.late_after(only(fleet, prompt_tokens=50_000)) == inf


@pytest.mark.parametrize(
    ("ttft", "scatter", "reads_large_ones"),
    [(0.5, 0.6, False), (60.0, 0.6, True), (0.5, 3.0, True)],
    ids=["quick", "slow", "erratic"],
)
def test_which_prompts_pay_depends_on_how_soon_rivals_are(ttft: float, scatter: float, reads_large_ones: bool) -> None:
    """Where rivals are quick, small ones that wait 10 s are hedged, and the few large ones that wait longer are not.
    Where rivals do not help the small ones, nothing is gained by leaving the large ones out."""
    budget = Budget(Hedge(Delay(quantile=0.95), 0.05, 0.01))
    published = ttft + (TYPICAL - MIDDLES[0]) / PREFILL
    priors = Priors(ttft_p50=published, ttft_p90=published * exp(NORMAL[2] * scatter))
    rivals = only(Fleet([endpoint(priors=priors)]))
    assert median_wait(rivals) == pytest.approx(ttft)
    for _ in range(300):
        budget.sent(0.0, rivals)
        budget.settled(0.0, 1e-6 * 1_000, 1_000)  # a dollar for 1M tokens: 95 tokens a request
        budget.spent(0.01)
    waits(waits(waits(budget, [1.0] * 979), [10.0] * 40), [15.0] * 5, tokens=100_000)
    late = budget.late_after(only(Fleet([endpoint()]), prompt_tokens=50_000))
    assert (late < inf) == reads_large_ones


def test_fewer_are_late_where_hedges_are_dear() -> None:
    """A hedge that adds a whole request's cost, for 1 % of the spend: what can be paid goes to the slowest."""
    dear, cheap = (Budget(Hedge(Delay(quantile=0.95), 0.05, 0.01)) for _ in range(2))
    for budget, bill in ((dear, 0.01), (cheap, 0.0001)):
        for _ in range(400):
            budget.spent(0.01)
            budget.settled(0.0, bill, 1_000)
        waits(budget, SPREAD)
    assert share_late(cheap, SPREAD) == pytest.approx(0.05, abs=1 / len(SPREAD))
    assert share_late(dear, SPREAD) == pytest.approx(USED * 0.01, abs=1 / len(SPREAD))


# --- who --------------------------------------------------------------------------------------------------------


def beside(fleet: Fleet, budget: Budget | None = None) -> str | None:
    """Who is asked beside the first."""
    first, *others = plan(fleet, request(), CHEAPEST).ranked
    choice = rival(tuple(others), first, CHEAPEST, budget or rich(), NOW)
    return None if choice is None else choice.endpoint.id


def named(name: str, ttft: float, price: float = 1.0, **about: object) -> object:
    return endpoint(name, price=Price(price, price), priors=Priors(ttft_p50=ttft), **about)


def fleet_of(*endpoints: object) -> Fleet:
    return Fleet(endpoints)  # type: ignore[arg-type]


def test_the_soonest_to_begin_is_tried_not_the_next_cheapest() -> None:
    assert beside(fleet_of(named("a", 1.0), named("b", 9.0, 2.0), named("c", 0.5, 3.0))) == "c"


def test_one_that_the_budget_cannot_pay_is_not_tried() -> None:
    fleet = fleet_of(named("a", 1.0), named("b", 9.0, 2.0), named("c", 0.5, 30_000.0))
    assert beside(fleet) == "b"
    assert beside(fleet, Budget(GENEROUS)) is None, "nothing was saved"


def test_what_the_late_one_may_bill_counts_as_well() -> None:
    fleet = fleet_of(named("a", 1.0, 20.0), named("b", 1.0, 10.0))
    policy = replace(CHEAPEST, pick=Pick("order", order=("a", "b")))
    late, *others = plan(fleet, request(), policy).ranked  # 1,000 tokens cost 0.02 at the one, 0.01 at the other
    poor = Budget(GENEROUS)
    poor.begin()
    while not poor.affords(0.01):
        poor.spent(0.005)
    assert rival(tuple(others), late, policy, poor, NOW) is None
    while not poor.affords(0.02):
        poor.spent(0.005)
    assert rival(tuple(others), late, policy, poor, NOW) is others[0]


def test_who_is_mostly_soon_is_tried_however_long_some_of_its_answers_take() -> None:
    """A race is won by the median; the mean is what an answer costs."""
    fleet = fleet_of(
        named("a", 1.0),
        endpoint("steady", price=Price(2.0, 2.0), priors=Priors(ttft_p50=1.0, ttft_p90=1.2)),
        endpoint("mostly", price=Price(3.0, 3.0), priors=Priors(ttft_p50=0.7, ttft_p90=7.0)),
    )
    steady, mostly = plan(fleet, request(), CHEAPEST).ranked[1:]
    assert mostly.parts.ttft > steady.parts.ttft
    assert median_wait(mostly) < median_wait(steady)
    assert beside(fleet) == "mostly"


def test_a_host_that_bills_cancelled_answers_puts_the_whole_answer_at_stake() -> None:
    stops, bills = (
        plan(Fleet([endpoint(cancel=habit)]), request(), CHEAPEST).ranked[0] for habit in ("stops", "bills")
    )
    assert at_stake(stops) == stops.parts.input_usd
    assert at_stake(bills) == bills.parts.usd > at_stake(stops)


def test_a_rate_limited_endpoint_is_not_tried() -> None:
    fleet = fleet_of(named("a", 1.0), named("b", 1.0, 2.0))
    fail(fleet, attempt(fleet, "b"), "rate_limited", NOW, retry_after=30.0)
    assert beside(fleet) is None


def test_one_at_its_concurrency_is_not_tried() -> None:
    fleet = fleet_of(named("a", 1.0), named("b", 1.0, 2.0, limits=Limits(concurrency=1)))
    assert beside(fleet) == "b"
    first, *others = plan(fleet, request(), CHEAPEST).ranked
    attempt(fleet, "b")
    assert rival(tuple(others), first, CHEAPEST, rich(), NOW) is None, "it has become busy since it was planned"


def test_one_that_often_fails_is_not_tried() -> None:
    fleet = fleet_of(named("a", 1.0), named("b", 1.0, 2.0))
    assert beside(fleet) == "b"
    for _ in range(4):
        fail(fleet, attempt(fleet, "b"), "server", NOW)
    fresh(fleet.states["b"], NOW)
    assert beside(fleet) is None
