"""What the fleet learns when attempts end: whose fault, what is remembered, and how many are in flight."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.breaker import FAULTS_IN_A_ROW, State
from gateway.route.endpoint_state import EndpointState
from gateway.route.filters import Tier, tier
from gateway.route.fleet import Fleet
from gateway.route.prompt_cache import HIT_RATE
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.route.waits import size_class
from gateway.types import PROBE, Endpoint, Fault, Policy, Score, Usage
from tests.route.world import (
    BEST,
    HOUR,
    NOW,
    answer,
    attempt,
    endpoint,
    fail,
    fresh,
    recent,
    request,
    seconds,
    succeed,
    teach,
)

TURN = ((1, 400), (2, 900))


def fleet_of(*names: str, **changes: object) -> Fleet:
    return Fleet(endpoint(name, **changes) for name in names)


def breaker_after(fault: Fault, fleet: Fleet | None = None, **about: object) -> State:
    """Of `a`, after that many attempts in a row failed like this."""
    fleet = fleet or fleet_of("a", "b")
    for _ in range(FAULTS_IN_A_ROW):
        fail(fleet, attempt(fleet, "a", deadline=float(str(about.get("deadline", 10.0)))), fault, NOW)
    return fleet.states["a"].breaker.state(NOW)


# --- whose fault ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [one for one in Fault if one.blamed and one is not Fault.EMPTY])
def test_the_endpoints_faults_open_its_breaker(fault: Fault) -> None:
    assert breaker_after(fault) is State.OPEN


def test_an_empty_answer_is_a_fault_once_another_host_has_an_answer() -> None:
    fleet = fleet_of("a", "b")
    tries = [attempt(fleet, "a") for _ in range(FAULTS_IN_A_ROW)]
    for tried in tries:
        fail(fleet, tried, "empty", NOW)
    state = fleet.states["a"]
    assert (state.breaker.state(NOW), state.in_flight) == (State.CLOSED, 0)
    for tried in tries:
        fleet.contradicted(tried, NOW, 0.0)
    assert (state.breaker.state(NOW), state.breaker.why) == (State.OPEN, "empty")


@pytest.mark.parametrize("fault", ["malformed", "rejected", "account", "rate_limited"])
def test_other_faults_do_not(fault: Fault) -> None:
    assert breaker_after(fault) is State.CLOSED


def test_a_timeout_that_no_peer_would_have_met_is_no_fault() -> None:
    fleet = fleet_of("a", "b")
    teach(fleet, "b", [20.0] * 100)
    fresh(fleet.states["b"], NOW)
    assert breaker_after("timeout_first_token", fleet, deadline=10.0) is State.CLOSED
    assert breaker_after("timeout_first_token", fleet, deadline=30.0) is State.OPEN


def test_peers_are_compared_at_that_prompt_size() -> None:
    fleet = fleet_of("a", "b")
    teach(fleet, "b", [20.0] * 100, prompt_tokens=50_000)
    fresh(fleet.states["b"], NOW)
    for _ in range(FAULTS_IN_A_ROW):
        fail(fleet, attempt(fleet, "a", request(prompt_tokens=50_000)), "timeout_first_token", NOW)
    assert fleet.states["a"].breaker.state(NOW) is State.CLOSED
    assert breaker_after("timeout_first_token", fleet) is State.OPEN, "small prompts are answered in time"


def test_a_whole_answer_is_compared_with_the_peers_time_to_write_it() -> None:
    fleet = fleet_of("a", "b")  # by default 5,600 tokens at 15 a second
    whole = request(stream=False)
    for _ in range(FAULTS_IN_A_ROW):
        fail(fleet, attempt(fleet, "a", whole, deadline=60.0), "timeout_total", NOW)
    assert fleet.states["a"].breaker.state(NOW) is State.CLOSED
    for _ in range(FAULTS_IN_A_ROW):
        fail(fleet, attempt(fleet, "a", whole, deadline=600.0), "timeout_total", NOW)
    assert fleet.states["a"].breaker.state(NOW) is State.OPEN


def test_an_endpoint_without_peers_is_blamed() -> None:
    assert breaker_after("timeout_first_token", fleet_of("a"), deadline=0.1) is State.OPEN


def test_a_timeout_shows_in_the_endpoints_own_times() -> None:
    fleet = fleet_of("a", "b")
    for _ in range(20):
        answer(fleet, attempt(fleet, "a"), ttft=1.0)
    for _ in range(20):
        fail(fleet, attempt(fleet, "a", now=NOW), "timeout_first_token", NOW + 10)
    assert seconds(fresh(fleet.states["a"], NOW + 10).waits.p95) == pytest.approx(10.0, rel=0.15)


def test_a_rate_limit_shifts_load_for_as_long_as_the_host_says() -> None:
    fleet = fleet_of("a")
    fail(fleet, attempt(fleet, "a"), "rate_limited", NOW, retry_after=7.0)
    assert fleet.states["a"].rate_limit.until == NOW + 7
    fail(fleet, attempt(fleet, "a"), "rate_limited", NOW, retry_after=2.0)
    assert fleet.states["a"].rate_limit.until == NOW + 7, "the longer wait holds"


def test_a_rate_limit_without_a_time_shifts_load_for_a_second() -> None:
    fleet = fleet_of("a")
    fail(fleet, attempt(fleet, "a"), "rate_limited", NOW)
    assert fleet.states["a"].rate_limit.until == NOW + 1


@pytest.mark.parametrize("fault", ["server", "in_band", "garbage", "account", "unclean"])
def test_what_any_fault_of_the_endpoint_asks_to_wait_shifts_load(fault: Fault) -> None:
    fleet = fleet_of("a")
    fail(fleet, attempt(fleet, "a"), fault, NOW, retry_after=7.0)
    state = fleet.states["a"]
    assert (state.retry_at, state.held_until) == (NOW + 7, NOW + 7)
    assert tier(state, BEST, NOW + 6)[0] is Tier.BUSY
    assert tier(state, BEST, NOW + 8)[0] is Tier.GOOD


@pytest.mark.parametrize("fault", ["malformed", "rejected"])
def test_what_the_refusal_of_one_request_asks_to_wait_does_not(fault: Fault) -> None:
    fleet = fleet_of("a")
    fail(fleet, attempt(fleet, "a"), fault, NOW, retry_after=7.0)
    assert fleet.states["a"].retry_at <= NOW


def test_another_failures_wait_teaches_nothing_about_rates() -> None:
    fleet = fleet_of("a")
    for _ in range(20):
        fail(fleet, attempt(fleet, "a"), "server", NOW, retry_after=2.0)
    assert fleet.states["a"].rate_limit.limit(0, NOW) == inf


def test_rate_limits_count_as_failures_in_the_score() -> None:
    fleet = fleet_of("a")
    for _ in range(20):
        fail(fleet, attempt(fleet, "a"), "rate_limited", NOW)
    assert fresh(fleet.states["a"], NOW).fails > 0.5


def test_a_rejected_parameter_is_remembered() -> None:
    fleet = fleet_of("a")
    seeded = request(body={"messages": [], "seed": 1})
    fail(fleet, attempt(fleet, "a", seeded), "rejected", NOW, param="seed")
    assert fleet.states["a"].refusals.against(seeded, NOW, {}) == "seed"


def test_what_another_failure_is_about_is_not() -> None:
    fleet, seeded = fleet_of("a"), request(body={"messages": [], "seed": 1})
    fail(fleet, attempt(fleet, "a", seeded), "malformed", NOW, param="seed")
    assert fleet.states["a"].refusals.against(seeded, NOW, {}) is None


def test_a_rejection_without_a_parameter_is_not() -> None:
    fleet = fleet_of("a")
    fail(fleet, attempt(fleet, "a"), "rejected", NOW)
    assert fleet.states["a"].refusals.against(request(), NOW, {}) is None


def test_distrust_opens_every_breaker_of_the_credential() -> None:
    mine, yours = {"api_key_env": "MINE"}, {"api_key_env": "YOURS"}
    fleet = Fleet([endpoint("a", **mine), endpoint("b", **mine), endpoint("c", **yours), endpoint("d")])
    fleet.distrust("a", "account 402", NOW, 0.0)
    opened = [name for name, state in fleet.states.items() if state.breaker.state(NOW) is State.OPEN]
    assert opened == ["a", "b"]


def test_distrust_without_a_credential_opens_one_breaker() -> None:
    fleet = fleet_of("a", "b")
    fleet.distrust("a", "account 401", NOW, 0.0)
    fleet.distrust("gone", "account 401", NOW, 0.0)
    assert [state.breaker.state(NOW) for state in fleet.states.values()] == [State.OPEN, State.CLOSED]


# --- first tokens -----------------------------------------------------------------------------------------------


def test_a_first_token_shows_while_its_answer_is_still_written() -> None:
    fleet = fleet_of("a")
    for _ in range(60):
        answer(fleet, attempt(fleet, "a"), ttft=1.0)
    before = seconds(fresh(fleet.states["a"], NOW + 4).waits.p50)
    for _ in range(20):
        fleet.began(attempt(fleet, "a"), NOW + 5)
    assert seconds(fresh(fleet.states["a"], NOW + 5).waits.p50) > 1.5 * before
    assert fleet.states["a"].in_flight == 20


@pytest.mark.parametrize(("stream", "hedge"), [(True, True), (False, False)])
def test_that_of_a_hedge_or_of_a_whole_answer_says_only_that_it_is_not_silent(stream: bool, hedge: bool) -> None:
    fleet = fleet_of("a")
    tried = attempt(fleet, "a", request(stream=stream))
    tried.hedge = hedge
    fleet.began(tried, NOW + 5)
    state = fresh(fleet.states["a"], NOW + 5)
    assert (recent(state, NOW + 5), len(state.silence)) == (0, 0)


# --- cancels ----------------------------------------------------------------------------------------------------


def test_a_cancelled_probe_gives_its_place_back() -> None:
    fleet = fleet_of("a")
    fleet.distrust("a", "account 402", NOW, 0.0)
    breaker, later = fleet.states["a"].breaker, NOW + 6
    tried = attempt(fleet, "a", now=later)
    assert not breaker.allows(later)
    fleet.released(tried, True, later)
    assert breaker.allows(later)


def test_clients_who_leave_a_slow_endpoint_make_its_slowness_known() -> None:
    fleet = fleet_of("a")
    for _ in range(20):
        answer(fleet, attempt(fleet, "a"), ttft=1.0)
    for _ in range(40):
        fleet.released(attempt(fleet, "a", now=NOW), True, NOW + 8)
    assert seconds(fresh(fleet.states["a"], NOW + 8).waits.p50) == pytest.approx(8.0, rel=0.15)


def test_clients_who_leave_after_the_first_token_say_nothing_about_speed() -> None:
    fleet = fleet_of("a")
    for _ in range(20):
        answer(fleet, attempt(fleet, "a"), ttft=1.0)
    for _ in range(40):
        fleet.released(attempt(fleet, "a", now=NOW), False, NOW + 60)
    assert seconds(fresh(fleet.states["a"], NOW).waits.p95) < 2


# --- successes --------------------------------------------------------------------------------------------------


def test_output_lengths_are_learned_by_kind_from_what_hosts_count() -> None:
    fleet = fleet_of("a")
    for _ in range(100):
        succeed(fleet, attempt(fleet, "a", request(thinking=True)), NOW, usage=Usage(1_000, 0, 4_000, 0, "host"))
        succeed(fleet, attempt(fleet, "a"), NOW, usage=Usage(1_000, 0, 9, 0, "estimated"))
    thinks, plain = (fleet.demand(request(thinking=on), BEST, None, NOW + 1, HOUR) for on in (True, False))
    assert thinks.output_tokens == pytest.approx(3_700, rel=0.1)
    assert plain.output_tokens == 350


def test_the_lengths_of_answers_to_probes_are_not_learned() -> None:
    fleet = fleet_of("a")
    for _ in range(100):
        succeed(fleet, attempt(fleet, "a", request(tenant=PROBE)), NOW, usage=Usage(1_000, 0, 9, 0, "host"))
    assert fleet.demand(request(), BEST, None, NOW + 1, HOUR).output_tokens == 350


def test_a_first_token_counts_for_prompts_of_what_was_not_cached() -> None:
    fleet = fleet_of("a")
    for _ in range(40):
        tried = attempt(fleet, "a", request(prompt_tokens=30_000))
        fleet.succeeded(tried, Usage(30_000, 29_900, 10, 0, "host"), 0.5, None, NOW)
    waits = fresh(fleet.states["a"], NOW).waits
    assert [size for size, known in enumerate(waits.known) if known] == [size_class(100)]


def test_cached_shares_are_compared_not_tokens() -> None:
    fleet = fleet_of("a")
    for _ in range(50):  # 900 of 1,000 estimated tokens matched; the host counts 2,000, of which it had 1,800
        tried = attempt(fleet, "a", request(prompt_tokens=1_000), matched=900)
        succeed(fleet, tried, NOW, usage=Usage(2_000, 1_800, 10, 0, "host"))
    assert fresh(fleet.states["a"], NOW).hit_rate > 0.95
    for _ in range(100):  # and now the half of these
        tried = attempt(fleet, "a", request(prompt_tokens=1_000), matched=900)
        succeed(fleet, tried, NOW, usage=Usage(2_000, 900, 10, 0, "host"))
    assert fresh(fleet.states["a"], NOW).hit_rate == pytest.approx(0.5, abs=0.1)


def test_without_an_expected_match_a_hit_says_nothing() -> None:
    fleet = fleet_of("a")
    succeed(fleet, attempt(fleet, "a", matched=0), NOW, usage=Usage(1_000, 900, 10, 0, "host"))
    assert fresh(fleet.states["a"], NOW).hit_rate == HIT_RATE


def test_a_host_that_never_gives_what_it_advertises_loses_it() -> None:
    fleet = fleet_of("a")
    assert fresh(fleet.states["a"], NOW).hit_rate == HIT_RATE
    for _ in range(20):
        succeed(fleet, attempt(fleet, "a", matched=900), NOW, usage=Usage(1_000, 0, 10, 0, "host"))
    assert fresh(fleet.states["a"], NOW).hit_rate < 0.1


def test_rereads_are_learned_by_kind() -> None:
    fleet, tools = fleet_of("a"), request(prompt_tokens=1_000_000, needs=frozenset({"tools"}))
    attempt(fleet, "a", tools)
    assert fleet.demand(tools, BEST, 0, NOW, HOUR).rereads == pytest.approx(0.5)
    assert fleet.demand(request(), BEST, 0, NOW, HOUR).rereads == 1.0
    assert fleet.demand(request(), BEST, None, NOW, HOUR).rereads == 0.0, "where caches do not matter"
    assert fleet.demand(request(), Policy("p", score=Score("list")), 0, NOW, HOUR).rereads == 0.0


def test_what_was_sent_is_found_again() -> None:
    fleet = fleet_of("a", "b")
    attempt(fleet, "a", request(prefix=TURN))
    assert fleet.prefixes.matches(TURN, fleet.ttls, NOW + 1) == {"a": 900}


# --- configuration ----------------------------------------------------------------------------------------------


def test_endpoints_that_stay_keep_what_was_learned() -> None:
    fleet = fleet_of("a", "b")
    teach(fleet, "a", [0.1] * 100)
    fleet.configure([endpoint("a", context=4_096), endpoint("c")])
    assert list(fleet.states) == list(fleet.ttls) == ["a", "c"]
    assert seconds(fresh(fleet.states["a"], NOW).waits.p50) < 0.2
    assert fleet.states["a"].endpoint.context == 4_096


def test_an_attempt_ends_where_it_began_when_its_endpoint_left_and_came_back() -> None:
    fleet = fleet_of("a", "b")
    before = fleet.states["a"]
    running = [attempt(fleet, "a") for _ in range(4)]
    fleet.configure([endpoint("b")])
    fail(fleet, running[0], "server", NOW)
    fleet.configure([endpoint("a"), endpoint("b")])
    succeed(fleet, running[1], NOW)
    fail(fleet, running[2], "cut", NOW)
    fleet.released(running[3], True, NOW)
    assert (before.in_flight, fleet.states["a"].in_flight) == (0, 0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("configure"), st.sets(st.sampled_from("abc")).map(sorted)),
        st.tuples(st.just("send"), st.sampled_from("abc")),
        st.tuples(st.sampled_from(["begin", "succeed", "fail", "release"]), st.integers(0, 20)),
    ),
    max_size=60,
)


@given(steps)
def test_in_flight_and_waiting_is_what_was_sent_and_has_not_ended(history: list[tuple[str, object]]) -> None:
    fleet = fleet_of("a", "b", "c")
    running: list[TrackedAttempt] = []
    begun: list[TrackedAttempt] = []
    seen: dict[int, EndpointState] = {id(state): state for state in fleet.states.values()}
    for act, what in history:
        if act == "configure":
            fleet.configure(endpoint(name) for name in what)  # type: ignore[attr-defined]
            seen |= {id(state): state for state in fleet.states.values()}
        elif act == "send" and what in fleet.states:
            running.append(attempt(fleet, str(what)))
        elif running and act == "begin":
            tried = running[int(str(what)) % len(running)]
            fleet.began(tried, NOW + 1)
            begun.append(tried)
        elif running and act != "send":
            tried = running.pop(int(str(what)) % len(running))
            if act == "succeed":
                succeed(fleet, tried, NOW)
            elif act == "fail":
                fail(fleet, tried, "server", NOW)
            else:
                fleet.released(tried, True, NOW)
        for state in seen.values():
            mine = [tried for tried in running if tried.state is state]
            assert state.in_flight == len(mine)
            assert len(state.silence) == sum(all(tried is not one for one in begun) for tried in mine)


def test_a_changed_credential_or_price_takes_effect_at_once() -> None:
    fleet = fleet_of("a")
    changed: Endpoint = endpoint("a", api_key_env="OTHER")
    fleet.configure([changed])
    assert fleet.states["a"].endpoint is changed
