"""Exchanges as scripts, then any events at all on any plan."""

from dataclasses import replace
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.route.exchange import Exchange
from gateway.route.fleet import Fleet
from gateway.route.signals import (
    Begin,
    ClientLeft,
    Commit,
    Event,
    Expired,
    Failed,
    Finished,
    FirstToken,
    GiveUp,
    Send,
    SetTimer,
    Started,
)
from gateway.route.timeouts import LONG, PROBE, SLOW
from gateway.types import (
    FAULTS,
    Attempts,
    Endpoint,
    Failure,
    Fault,
    Limits,
    Policy,
    Price,
    Priors,
    Request,
    Score,
    Timeouts,
)
from tests.route.playbook import ONE_EACH, Playbook, failed, told
from tests.route.watched import Watched, happenings, moments
from tests.route.world import CHEAPEST, NOW, attempt, endpoint, fresh, plan, request, teach

ONCE = replace(CHEAPEST, attempts=Attempts(max=1))
WHOLE = replace(ONE_EACH, answer="whole")
CONTINUE = replace(ONE_EACH, resume="continue")
BLAMED = [fault for fault in Fault if fault.blamed]


def started(*names: str, **about: Any) -> Playbook:
    """A streamed exchange whose first attempt is under way; its timers are not at stake."""
    script = Playbook(*names, **about)
    commands = script.exchange.on(Started(0.0))
    assert isinstance(commands[0], Send)
    return script


# --- the good way -----------------------------------------------------------------------------------------------


def test_a_streamed_answer() -> None:
    assert (
        Playbook("a", "b")
        >> Started(0.0)
        << "send 1 to a, timer first_token 10, timer keepalive 10"
        >> FirstToken(1, 0.5)
        << "commit 1, timer gap 30"
        >> Finished(1, 3.0)
        << "book 1 ok, complete 1"
    )


def test_a_short_whole_answer_comes_whole() -> None:
    """Its timeout is 1.5 times a slow first token, and its length at the slow speed of 15 tokens a second."""
    script = Playbook("a", "b", stream=False, max_tokens=60)
    send, timer = script.exchange.on(Started(0.0))
    assert isinstance(send, Send)
    parts = send.choice.parts
    slow = SLOW * send.choice.state.waits.p99[parts.size] * parts.pace
    assert timer == SetTimer("first_token", 1, pytest.approx(slow + 4.0))
    assert (send.tried.streams, send.tried.timeout < 10.0) == (False, True)
    assert script >> Finished(1, 3.0) << "commit 1, book 1 ok, complete 1"


def test_a_whole_answers_first_token_has_the_policys_timeout_at_most() -> None:
    quick = replace(ONE_EACH, timeouts=Timeouts(first_token=1.0))
    assert (
        Playbook("a", "b", stream=False, max_tokens=60, policy=quick)
        >> Started(0.0)
        << ("send 1 whole to a, timer first_token 5")
    )


def test_a_long_whole_answer_is_streamed_by_the_host_and_held() -> None:
    assert (
        Playbook("a", "b", stream=False, max_tokens=150)
        >> Started(0.0)
        << "send 1 to a, timer first_token 10"
        >> FirstToken(1, 1.0)
        << "begin 1, timer gap 30"
        >> Finished(1, 11.0)
        << "commit 1, book 1 ok, complete 1"
    )


def test_an_answer_of_any_length_is_streamed_by_the_host() -> None:
    assert Playbook("a", "b", stream=False) >> Started(0.0) << "send 1 to a, timer first_token 10"


# --- what happened since the plan was made ----------------------------------------------------------------------


def tripped(script: Playbook, *names: str) -> Playbook:
    """The breakers of these endpoints open while the first attempt is under way."""
    for choice in script.exchange.plan.ranked:
        if choice.endpoint.id in names:
            choice.state.breaker.trip(0.5, 0.0, "server")
    return script


def test_an_endpoint_whose_breaker_has_opened_is_passed_over() -> None:
    assert (
        tripped(started("a", "b", "c"), "b")
        >> failed(1, "server")
        << "cancel 1, book 1 server, send 2 to c, timer first_token 10"
        >> failed(2, "server")
        << "cancel 2, book 2 server, send 3 to b, timer first_token 59"
    )


def test_where_all_that_are_left_have_opened_they_are_tried_in_order() -> None:
    """Each as a probe, which waits no longer than it must."""
    script = tripped(started("a", "b", "c"), "b", "c")
    probe = PROBE * script.exchange.plan.ranked[1].state.waits.p95[0]
    assert script >> failed(1, "server") << f"cancel 1, book 1 server, send 2 to b, timer first_token {probe:g}"


# --- whose fault ------------------------------------------------------------------------------------------------


def test_a_malformed_request_returns_at_once() -> None:
    assert started("a", "b") >> failed(1, "malformed") << "cancel 1, book 1 malformed, give up a:malformed"


def test_a_rejection_tries_one_other_endpoint_and_the_second_returns() -> None:
    assert (
        started("a", "b", "c")
        >> failed(1, "rejected")
        << "cancel 1, book 1 rejected, send 2 to b, timer first_token 10"
        >> failed(2, "rejected")
        << "cancel 2, book 2 rejected, give up a:rejected b:rejected"
    )


def test_rejections_count_also_with_another_failure_between_them() -> None:
    assert (
        started("a", "b", "c", "d")
        >> failed(1, "rejected")
        << "cancel 1, book 1 rejected, send 2 to b, timer first_token 10"
        >> failed(2, "server")
        << "cancel 2, book 2 server, send 3 to c, timer first_token 10"
        >> failed(3, "rejected")
        << "cancel 3, book 3 rejected, give up a:rejected b:server c:rejected"
    )


def test_the_accounts_fault_is_probed_and_the_next_endpoint_tried() -> None:
    assert (
        started("a", "b", "c")
        >> failed(1, "account")
        << "cancel 1, book 1 account, probe a, send 2 to b, timer first_token 10"
    )


def test_the_accounts_fault_is_probed_also_where_nothing_is_left_to_try() -> None:
    assert started("a") >> failed(1, "account") << "cancel 1, book 1 account, probe a, give up a:account"


@pytest.mark.parametrize("fault", ["rate_limited", *BLAMED])
def test_other_faults_fail_over(fault: Fault) -> None:
    assert started("a", "b", "c") >> failed(1, fault) << f"cancel 1, book 1 {fault}, send 2 to b, timer first_token 10"


@pytest.mark.parametrize("fault", sorted(Fault))
def test_after_the_first_token_every_fault_is_a_loud_end(fault: Fault) -> None:
    assert (
        started("a", "b")
        >> FirstToken(1, 0.5)
        << "commit 1, timer gap 30"
        >> failed(1, fault)
        << f"cancel 1, book 1 {fault}, break 1 {fault}"
    )


def test_rate_limited_everywhere() -> None:
    assert (
        started("a", "b")
        >> failed(1, "rate_limited")
        << "cancel 1, book 1 rate_limited, send 2 to b, timer first_token 59"
        >> failed(2, "rate_limited")
        << "cancel 2, book 2 rate_limited, give up a:rate_limited b:rate_limited"
    )


def test_nothing_to_try() -> None:
    assert Playbook() >> Started(0.0) << "give up"


# --- timers -----------------------------------------------------------------------------------------------------


def test_no_first_token_in_time() -> None:
    assert (
        started("a", "b", "c")
        >> Expired("first_token", 1, 10.0)
        << "cancel 1, book 1 timeout_first_token, send 2 to b, timer first_token 10"
    )


def test_no_whole_answer_in_time() -> None:
    assert (
        started("a", stream=False, max_tokens=60)
        >> Expired("first_token", 1, 60.0)
        << "cancel 1, book 1 timeout_total, give up a:timeout_total"
    )


def test_silence_after_the_first_token() -> None:
    assert (
        started("a", "b")
        >> FirstToken(1, 0.5)
        << "commit 1, timer gap 30"
        >> Expired("gap", 1, 40.0)
        << "cancel 1, book 1 timeout_gap, break 1 timeout_gap"
    )


def test_timers_of_another_phase_change_nothing() -> None:
    assert (
        started("a", "b")
        >> Expired("gap", 1, 1.0)
        >> FirstToken(1, 2.0)
        << "commit 1, timer gap 30"
        >> Expired("first_token", 1, 10.0)
        >> Expired("keepalive", 0, 10.0)
        >> Finished(1, 11.0)
        << "book 1 ok, complete 1"
    )
    assert started("a", "b") >> Expired("retry", 0, 1.0) >> FirstToken(1, 2.0) << "commit 1, timer gap 30"


def test_a_slow_stream_is_kept_alive_again_and_again_through_a_failover() -> None:
    assert (
        started("a", "b", "c")
        >> Expired("keepalive", 0, 10.0)
        << "keep alive, timer keepalive 10"
        >> failed(1, "server", 12.0)
        << "cancel 1, book 1 server, send 2 to b, timer first_token 10"
        >> Expired("keepalive", 0, 20.0)
        << "keep alive, timer keepalive 10"
        >> FirstToken(2, 21.0)
        << "commit 2, timer gap 30"
    )


def test_a_whole_answer_is_not_kept_alive() -> None:
    assert started("a", stream=False) >> Expired("keepalive", 0, 10.0)


def test_a_client_without_patience_is_kept_waiting_with_signs_of_life() -> None:
    assert (
        Playbook("a", "b", stream=False, patience=1.0)
        >> Started(0.0)
        << "send 1 to a, timer first_token 10, timer keepalive 1"
        >> FirstToken(1, 0.5)
        << "begin 1, timer gap 30"
        >> Expired("keepalive", 0, 1.0)
        << "keep alive, timer keepalive 1"
    )


def test_the_first_token_timeout_grows_with_the_tokens_that_no_cache_holds() -> None:
    assert (
        Playbook("a", "b", prompt_tokens=100_000)
        >> Started(0.0)
        << "send 1 to a, timer first_token 60, timer keepalive 10"
    )


def test_a_short_one_is_kept_where_little_is_known_of_the_endpoint() -> None:
    short = replace(ONE_EACH, timeouts=Timeouts(first_token=0.25))
    opening = Playbook("a", "b", policy=short).exchange.on(Started(0.0))
    assert opening[1] == SetTimer("first_token", 1, 0.25)


def test_the_timeout_is_never_under_the_slowest_of_the_endpoints_own_answers() -> None:
    fleet = Fleet([endpoint("slow")])
    teach(fleet, "slow", [25.0] * 100)
    fresh(fleet.states["slow"], NOW)
    fleet.configure([endpoint("slow"), endpoint("z", priors=Priors(uptime=0.5))])
    (send, timer, _) = Exchange(request(), plan(fleet, request(), CHEAPEST)).on(Started(0.0))
    assert isinstance(send, Send)
    assert send.choice.endpoint.id == "slow"
    assert send.tried.timeout == pytest.approx(25.0, rel=0.08)
    assert timer.seconds == send.tried.timeout  # type: ignore[union-attr]


def probing(one: Endpoint, *ttfts: float, **asked: Any) -> Send:
    """The first attempt at an endpoint whose breaker has been open long enough, after these answers of a minute ago."""
    fleet = Fleet([one, endpoint("z", price=Price(9.0, 9.0), priors=Priors(ttft_p50=1.0))])
    teach(fleet, one.id, ttfts)
    fleet.distrust(one.id, "server", NOW, 0.0)
    wanted = request(**asked)
    send, *_ = Exchange(wanted, plan(fleet, wanted, CHEAPEST, NOW + 10)).on(Started(NOW + 10))
    assert isinstance(send, Send)
    assert send.choice.endpoint is one
    return send


def test_a_probe_waits_three_times_what_95_of_100_answers_take() -> None:
    send = probing(endpoint("a", priors=Priors(ttft_p50=1.0, ttft_p90=1.5)))
    p95 = send.choice.state.waits.p95[0] * send.choice.parts.pace
    assert send.tried.timeout == pytest.approx(PROBE * p95)
    assert send.tried.timeout < Timeouts().first_token / 2


def test_a_probe_waits_what_is_usual_however_slow_the_endpoint_was_before_it_broke() -> None:
    """So that who probes an endpoint that hangs is not kept for a multiple of its last bad minute."""
    one = endpoint("a", priors=Priors(ttft_p50=0.5))
    fleet = Fleet([one])
    teach(fleet, "a", [0.5] * 30)
    for _ in range(20):
        fleet.began(attempt(fleet, "a"), NOW + 2.0)
    state = fresh(fleet.states["a"], NOW + 2.0)
    assert state.waits.level > 2
    fleet.configure([one, endpoint("z", price=Price(9.0, 9.0), priors=Priors(ttft_p50=9.0))])
    fleet.distrust("a", "server", NOW, 0.0)
    send, *_ = Exchange(request(), plan(fleet, policy=CHEAPEST, now=NOW + 8)).on(Started(NOW + 8))
    assert isinstance(send, Send)
    usual = state.waits.p95[0] / state.waits.level * send.choice.parts.pace
    assert (send.choice.state, send.tried.timeout) == (state, pytest.approx(PROBE * usual))


def test_a_probe_of_a_slow_endpoint_waits_no_longer_than_other_attempts() -> None:
    assert probing(endpoint("a"), *[9.0] * 60, prompt_tokens=0).tried.timeout == Timeouts().first_token


def test_a_whole_answer_as_a_probe_has_time_to_be_written() -> None:
    one = endpoint("a", priors=Priors(ttft_p50=1.0, ttft_p90=1.1))
    send = probing(one, stream=False, max_tokens=60)
    waits, parts = send.choice.state.waits, send.choice.parts
    first_token = parts.pace * min(PROBE * waits.p95[0], SLOW * waits.p99[0])
    assert not send.tried.streams
    assert send.tried.timeout == pytest.approx(first_token + 60 / send.choice.state.speeds.p10)


def test_the_last_endpoint_of_the_plan_gets_what_remains_of_the_budget() -> None:
    assert (
        started("a", "b")
        >> failed(1, "timeout_first_token", 10.0)
        << "cancel 1, book 1 timeout_first_token, send 2 to b, timer first_token 50"
    )


def test_the_last_attempt_of_the_policy_gets_what_remains_of_the_budget() -> None:
    assert (
        Playbook("a", "b", policy=ONCE)
        >> Started(0.0)
        << "send 1 to a, timer first_token 60, timer keepalive 10"
        >> failed(1, "server")
        << "cancel 1, book 1 server, give up a:server"
    )


def test_the_budget_grows_like_the_timeouts() -> None:
    assert (
        Playbook("a", policy=ONCE, prompt_tokens=100_000)
        >> Started(0.0)
        << "send 1 to a, timer first_token 110, timer keepalive 10"
    )


def test_no_attempt_gets_more_than_what_remains() -> None:
    assert (
        started("a", "b", "c", policy=replace(CHEAPEST, attempts=Attempts(within=12.0)))
        >> Expired("first_token", 1, 10.0)
        << "cancel 1, book 1 timeout_first_token, send 2 to b, timer first_token 2"
    )


def test_nothing_is_tried_after_the_budget() -> None:
    assert started("a", "b", "c") >> failed(1, "cut", 60.0) << "cancel 1, book 1 cut, give up a:cut"


@pytest.mark.parametrize(("most", "streams"), [(119, False), (121, True)])
def test_a_host_streams_what_takes_long_at_its_slow_speed(most: int, streams: bool) -> None:
    send, *_ = Playbook("a", "b", stream=False, max_tokens=most).exchange.on(Started(0.0))
    assert isinstance(send, Send)
    assert (most / send.choice.state.speeds.p10 > LONG) is streams
    assert send.tried.streams is streams


def test_attempts_within_is_never_exceeded_whatever_the_length() -> None:
    assert (
        started("a", "b", "c", stream=False, policy=replace(ONE_EACH, attempts=Attempts(within=12.0, retries=0)))
        >> Expired("first_token", 1, 10.0)
        << "cancel 1, book 1 timeout_first_token, send 2 to b, timer first_token 2"
        >> Expired("first_token", 2, 12.0)
        << "cancel 2, book 2 timeout_first_token, give up a:timeout_first_token b:timeout_first_token"
    )


def test_while_an_answer_comes_that_is_held_the_time_to_wait_stands_still() -> None:
    assert (
        started("a", "b", "c", stream=False)
        >> FirstToken(1, 5.0)
        << "begin 1, timer gap 30"
        >> failed(1, "cut", 205.0)
        << "cancel 1, book 1 cut, send 2 to b, timer first_token 10"
        >> Expired("first_token", 2, 215.0)
        << "cancel 2, book 2 timeout_first_token, send 3 to c, timer first_token 45"
    )


def test_a_whole_answer_has_at_most_its_total() -> None:
    script = started("a", "b", stream=False, policy=replace(ONE_EACH, timeouts=Timeouts(total=45.0)))
    begun, gap = script.exchange.on(FirstToken(1, 5.0))
    assert (begun, gap) == (Begin(1), SetTimer("gap", 1, 30.0, total=40.0))
    assert script >> Expired("total", 1, 45.0) << "cancel 1, book 1 timeout_total, give up a:timeout_total"


def test_a_streamed_answer_has_a_total_of_its_own() -> None:
    script = started("a", "b", policy=replace(ONE_EACH, timeouts=Timeouts(stream=90.0)))
    assert script.exchange.on(FirstToken(1, 5.0)) == [Commit(1), SetTimer("gap", 1, 30.0, total=90.0)]
    assert script >> Expired("total", 1, 95.0) << "cancel 1, book 1 timeout_total, break 1 timeout_total"


def test_where_another_model_may_be_tried_the_last_endpoint_does_not_get_all_the_time() -> None:
    assert Playbook("a", other_models=1) >> Started(0.0) << "send 1 to a, timer first_token 10, timer keepalive 10"


# --- the same endpoint again ------------------------------------------------------------------------------------


def after(seconds: float, fault: Fault = Fault.RATE_LIMITED) -> Failed:
    """A failure of the first attempt, whose host said when to come back."""
    return Failed(1, Failure(FAULTS[fault], "no", 429, retry_after=seconds), 1.0)


@pytest.mark.parametrize("fault", ["server", "cut"])
def test_what_passes_is_tried_once_more_where_that_is_cheaper(fault: Fault) -> None:
    assert (
        started("a", "b", "c", policy=CHEAPEST)
        >> failed(1, fault)
        << f"cancel 1, book 1 {fault}, timer retry 0.5"
        >> Expired("retry", 0, 1.5)
        << "send 2 to a, timer first_token 10"
        >> failed(2, fault, 2.0)
        << f"cancel 2, book 2 {fault}, send 3 to b, timer first_token 10"
    )


@pytest.mark.parametrize("fault", ["timeout_first_token", "garbage", "empty", "unclean", "account", "refused"])
def test_what_stays_is_tried_elsewhere(fault: Fault) -> None:
    sent = started("a", "b", "c", policy=CHEAPEST).exchange.on(failed(1, fault))
    assert [one.choice.endpoint.id for one in sent if isinstance(one, Send)] == ["b"]


def test_what_failed_late_is_tried_elsewhere() -> None:
    sent = started("a", "b", policy=CHEAPEST).exchange.on(failed(1, "cut", 6.0))
    assert [one.choice.endpoint.id for one in sent if isinstance(one, Send)] == ["b"]


def test_what_failed_late_is_tried_again_where_nothing_else_is_left() -> None:
    assert started("a", policy=CHEAPEST) >> failed(1, "cut", 6.0) << "cancel 1, book 1 cut, timer retry 0.5"


def test_where_waiting_costs_more_than_going_elsewhere_the_next_one_is_tried() -> None:
    dear = replace(CHEAPEST, score=Score(value_of_time=100.0))
    assert (
        started("a", "b", "c", policy=dear)
        >> failed(1, "server")
        << "cancel 1, book 1 server, send 2 to b, timer first_token 10"
    )


def test_a_short_retry_after_is_waited_for() -> None:
    assert (
        started("a", "b", policy=CHEAPEST)
        >> after(2.0)
        << "cancel 1, book 1 rate_limited, timer retry 2"
        >> Expired("retry", 0, 3.0)
        << "send 2 to a, timer first_token 10"
    )


@pytest.mark.parametrize("fault", ["rate_limited", "server"])
def test_a_long_retry_after_is_not_waited_for_where_another_is_left(fault: Fault) -> None:
    assert (
        started("a", "b", policy=CHEAPEST)
        >> after(4.0, fault)
        << f"cancel 1, book 1 {fault}, send 2 to b, timer first_token 59"
    )


def test_a_rate_limit_without_a_hint_goes_elsewhere() -> None:
    assert (
        started("a", "b", policy=CHEAPEST)
        >> failed(1, "rate_limited")
        << "cancel 1, book 1 rate_limited, send 2 to b, timer first_token 59"
    )


def test_an_endpoint_whose_breaker_has_opened_is_not_tried_again() -> None:
    assert (
        tripped(started("a", "b", policy=CHEAPEST), "a")
        >> failed(1, "server")
        << "cancel 1, book 1 server, send 2 to b, timer first_token 59"
    )


@pytest.mark.parametrize("fault", ["server", "cut", "refused", "in_band", "rate_limited"])
def test_where_nothing_else_is_left_the_attempts_are_used_with_growing_pauses(fault: Fault) -> None:
    assert (
        started("a", policy=CHEAPEST)
        >> failed(1, fault, 1.0)
        << f"cancel 1, book 1 {fault}, timer retry 0.5"
        >> Expired("retry", 0, 1.5)
        << "send 2 to a, timer first_token 58.5"
        >> failed(2, fault, 2.0)
        << f"cancel 2, book 2 {fault}, timer retry 1"
        >> Expired("retry", 0, 3.0)
        << "send 3 to a, timer first_token 57"
        >> failed(3, fault, 4.0)
        << f"cancel 3, book 3 {fault}, timer retry 2"
        >> Expired("retry", 0, 6.0)
        << "send 4 to a, timer first_token 54"
        >> failed(4, fault, 7.0)
        << f"cancel 4, book 4 {fault}, give up a:{fault} a:{fault} a:{fault} a:{fault}"
    )


def test_of_those_that_failed_the_one_that_is_ready_first_is_tried_again() -> None:
    again = replace(CHEAPEST, score=Score(value_of_time=100.0))
    assert (
        started("a", "b", policy=again)
        >> after(6.0)
        << "cancel 1, book 1 rate_limited, send 2 to b, timer first_token 59"
        >> failed(2, "server", 2.0)
        << "cancel 2, book 2 server, timer retry 0.5"
        >> Expired("retry", 0, 2.5)
        << "send 3 to b, timer first_token 57.5"
        >> failed(3, "timeout_first_token", 3.0)
        << "cancel 3, book 3 timeout_first_token, timer retry 4"
        >> Expired("retry", 0, 7.0)
        << "send 4 to a, timer first_token 53"
    )


def test_a_retry_after_that_is_too_long_is_the_answer_where_nothing_else_is_left() -> None:
    assert started("a", policy=CHEAPEST) >> after(11.0) << "cancel 1, book 1 rate_limited, give up a:rate_limited"


def test_no_pause_goes_beyond_the_time_of_all_attempts() -> None:
    short = replace(CHEAPEST, attempts=Attempts(within=2.5))
    assert started("a", policy=short) >> after(2.0) << "cancel 1, book 1 rate_limited, give up a:rate_limited"


def test_where_another_model_may_be_tried_an_endpoint_is_tried_again_once() -> None:
    assert (
        started("a", policy=CHEAPEST, other_models=1)
        >> failed(1, "server")
        << "cancel 1, book 1 server, timer retry 0.5"
        >> Expired("retry", 0, 1.5)
        << "send 2 to a, timer first_token 10"
        >> failed(2, "server", 2.0)
        << "cancel 2, book 2 server, give up a:server a:server"
    )


def test_a_pause_that_ends_after_the_time_of_all_attempts_ends_the_exchange() -> None:
    assert (
        started("a", policy=replace(CHEAPEST, attempts=Attempts(within=2.0)))
        >> failed(1, "server", 1.0)
        << "cancel 1, book 1 server, timer retry 0.5"
        >> Expired("retry", 0, 2.0)
        << "give up a:server"
    )


def test_the_client_leaves_during_a_pause() -> None:
    assert (
        started("a", policy=CHEAPEST)
        >> failed(1, "server")
        << "cancel 1, book 1 server, timer retry 0.5"
        >> ClientLeft(1.2)
        << "abandon"
        >> Expired("retry", 0, 1.5)
    )


def test_a_stream_is_kept_alive_during_a_pause() -> None:
    assert (
        started("a", policy=CHEAPEST)
        >> failed(1, "server", 9.8)
        << "cancel 1, book 1 server, timer retry 0.5"
        >> Expired("keepalive", 0, 10.0)
        << "keep alive, timer keepalive 10"
    )


def test_pauses_are_spread() -> None:
    fleet = Fleet([endpoint("a")])
    pauses = []
    for share in (0.0, 0.999):
        exchange = Exchange(request(), plan(fleet, request(), CHEAPEST), rng=lambda share=share: share)
        exchange.on(Started(0.0))
        pause = exchange.on(failed(1, "server"))[-1]
        assert isinstance(pause, SetTimer)
        pauses.append(round(pause.seconds, 2))
    assert pauses == [0.4, 0.6]


# --- where all have asked to wait -------------------------------------------------------------------------------


def asked_to_wait(**seconds: float) -> Fleet:
    """Endpoints that have said 429 with these `Retry-After`s, at 0; those of 0 have not."""
    fleet = Fleet([endpoint(name, priors=Priors(uptime=1 - place / 100)) for place, name in enumerate(seconds)])
    for name, wait in seconds.items():
        if wait:
            tried = attempt(fleet, name, now=0.0)
            fleet.failed(tried, Failure(Fault.RATE_LIMITED, "slow down", 429, retry_after=wait), 0.0, 0.5)
        fresh(fleet.states[name], 0.1)
    return fleet


def opening(fleet: Fleet, **asked: Any) -> list[str]:
    wanted = request(**asked)
    exchange = Exchange(wanted, plan(fleet, wanted, CHEAPEST, 0.1), rng=lambda: 0.0)
    return [told(command) for command in exchange.on(Started(0.1))]


def test_an_endpoint_without_a_retry_after_is_tried() -> None:
    assert opening(asked_to_wait(a=5.0, b=0.0))[0] == "send 1 to b"


def test_the_first_that_may_be_tried_again_is_waited_for() -> None:
    assert opening(asked_to_wait(a=8.0, b=5.0)) == ["timer retry 4.9", "timer keepalive 10"]


def test_when_its_time_has_come_it_is_sent_the_request() -> None:
    fleet, wanted = asked_to_wait(a=8.0, b=5.0), request()
    exchange = Exchange(wanted, plan(fleet, wanted, CHEAPEST, 0.1), rng=lambda: 0.0)
    exchange.on(Started(0.1))
    assert told(exchange.on(Expired("retry", 0, 5.0))[0]) == "send 1 to b"


def test_a_long_wait_is_the_answer_and_no_host_is_tried() -> None:
    assert opening(asked_to_wait(a=80.0, b=50.0)) == ["give up b:rate_limited"]


def test_after_a_minute_of_a_long_wait_a_host_is_tried_in_case_it_is_over() -> None:
    fleet, wanted = asked_to_wait(a=600.0, b=900.0), request()
    later = Exchange(wanted, plan(fleet, wanted, CHEAPEST, 61.0), rng=lambda: 0.0)
    assert told(later.on(Started(61.0))[0]) == "send 1 to a"


def test_a_rate_limit_that_is_reached_is_no_retry_after() -> None:
    fleet = Fleet([endpoint("a", limits=Limits(rpm=1))])
    attempt(fleet, "a", now=0.0)
    assert fleet.states["a"].rate_limit.until > 50
    assert opening(fleet)[0] == "send 1 to a"


def test_where_another_model_may_be_tried_no_wait_is_waited_for() -> None:
    assert opening(asked_to_wait(a=8.0, b=5.0), other_models=1) == ["give up b:rate_limited"]


def test_waits_for_one_endpoint_are_spread() -> None:
    fleet = asked_to_wait(a=5.0)
    exchange = Exchange(request(), plan(fleet, request(), CHEAPEST, 0.1), rng=lambda: 0.5)
    pause, _ = exchange.on(Started(0.1))
    assert pause == SetTimer("retry", 0, pytest.approx(5.15))


# --- answers that are held --------------------------------------------------------------------------------------


@pytest.mark.parametrize("about", [{"stream": False}, {"policy": WHOLE}])
@pytest.mark.parametrize("fault", BLAMED)
def test_an_answer_that_is_held_and_breaks_is_retried(about: dict[str, Any], fault: Fault) -> None:
    script = started("a", "b", **about)
    assert (
        script
        >> FirstToken(1, 0.5)
        << "begin 1, timer gap 30"
        >> failed(1, fault)
        << f"cancel 1, book 1 {fault}, send 2 to b, timer first_token 59.5"
        >> FirstToken(2, 2.0)
        << "begin 2, timer gap 30"
        >> Finished(2, 3.0)
        << "commit 2, book 2 ok, complete 2"
    )


def test_a_streamed_answer_that_is_held_is_kept_alive() -> None:
    assert (
        started("a", "b", policy=WHOLE)
        >> FirstToken(1, 0.5)
        << "begin 1, timer gap 30"
        >> Expired("keepalive", 0, 10.0)
        << "keep alive, timer keepalive 10"
        >> Expired("gap", 1, 40.0)
        << "cancel 1, book 1 timeout_gap, send 2 to b, timer first_token 59.5"
    )


def test_the_client_leaves_while_its_answer_is_held() -> None:
    assert (
        started("a", policy=WHOLE)
        >> FirstToken(1, 0.5)
        << "begin 1, timer gap 30"
        >> ClientLeft(1.0)
        << "cancel 1, book 1 cancelled, abandon"
    )


# --- text that another endpoint continues -----------------------------------------------------------------------


def answering(*able: str, fault: Fault = Fault.CUT, policy: Policy = CONTINUE) -> Playbook:
    """A streamed answer of `a` that breaks in its text. Of a, b, c and d those named support `prefix`."""
    script = started("a", "b", "c", "d", policy=policy, supports=dict.fromkeys(able, ("prefix",)))
    return script >> FirstToken(1, 0.5) << "commit 1, timer gap 30"


def broken(attempt: int, fault: Fault = Fault.CUT, now: float = 2.5, resumable: bool = True) -> Failed:
    return Failed(attempt, Failure(FAULTS[fault], "no"), now, resumable)


def test_the_next_endpoint_that_can_do_so_continues_the_text() -> None:
    assert (
        answering("c", "d")
        >> broken(1)
        << "cancel 1, book 1 cut, send 2 continuing to c, timer first_token 10, timer keepalive 10"
        >> FirstToken(2, 3.0)
        << "commit 2, timer gap 30"
        >> Finished(2, 4.0)
        << "book 2 ok, complete 2"
    )


def test_silence_in_the_text_is_continued_too() -> None:
    assert (
        answering("b")
        >> Expired("gap", 1, 31.0, resumable=True)
        << "cancel 1, book 1 timeout_gap, send 2 continuing to b, timer first_token 10, timer keepalive 10"
    )


def test_an_endpoint_that_does_not_continue_the_text_is_followed_by_the_next() -> None:
    assert (
        answering("b", "d")
        >> broken(1)
        << "cancel 1, book 1 cut, send 2 continuing to b, timer first_token 10, timer keepalive 10"
        >> failed(2, "rejected", 3.0)
        << "cancel 2, book 2 rejected, send 3 continuing to d, timer first_token 10, timer keepalive 10"
        >> failed(3, "rejected", 4.0)
        << "cancel 3, book 3 rejected, break 1 cut"
    )


def test_a_continued_answer_that_breaks_again_is_continued_again() -> None:
    assert (
        answering("b", "c")
        >> broken(1)
        << "cancel 1, book 1 cut, send 2 continuing to b, timer first_token 10, timer keepalive 10"
        >> FirstToken(2, 3.0)
        << "commit 2, timer gap 30"
        >> broken(2, "server", 4.0)
        << "cancel 2, book 2 server, send 3 continuing to c, timer first_token 10, timer keepalive 10"
    )


@pytest.mark.parametrize(
    ("able", "event", "policy"),
    [
        ([], broken(1), CONTINUE),
        (["b"], broken(1, resumable=False), CONTINUE),
        (["b"], broken(1), ONE_EACH),
        (["b"], broken(1), replace(CONTINUE, attempts=Attempts(max=1))),
    ],
)
def test_else_a_broken_answer_ends_loudly(able: list[str], event: Failed, policy: Policy) -> None:
    assert answering(*able, policy=policy) >> event << "cancel 1, book 1 cut, break 1 cut"


# --- refusals of the content ------------------------------------------------------------------------------------


def refusal(attempt: int) -> Failed:
    return Failed(attempt, Failure(Fault.REJECTED, "no", 400, param="content_filter"), 1.0)


def test_a_refusal_of_the_content_is_the_answer() -> None:
    assert started("a", "b") >> refusal(1) << "cancel 1, book 1 rejected, give up a:rejected"


def test_unless_the_policy_tries_another_endpoint() -> None:
    assert (
        started("a", "b", "c", policy=replace(ONE_EACH, content_filter="next"))
        >> refusal(1)
        << "cancel 1, book 1 rejected, send 2 to b, timer first_token 10"
        >> refusal(2)
        << "cancel 2, book 2 rejected, give up a:rejected b:rejected"
    )


# --- the client leaves ------------------------------------------------------------------------------------------


def test_the_client_leaves_while_it_waits() -> None:
    assert started("a", "b") >> ClientLeft(1.0) << "cancel 1, book 1 cancelled, abandon"


def test_the_client_leaves_during_the_answer() -> None:
    assert (
        started("a", "b")
        >> FirstToken(1, 0.5)
        << "commit 1, timer gap 30"
        >> ClientLeft(1.0)
        << "cancel 1, book 1 cancelled, abandon"
    )


def test_the_client_leaves_before_anything_was_sent() -> None:
    assert Playbook("a") >> ClientLeft(0.0) << "abandon" >> Started(0.0)


# --- late events ------------------------------------------------------------------------------------------------


def test_late_events_of_a_failed_attempt_are_ignored() -> None:
    assert (
        started("a", "b", "c")
        >> failed(1, "server")
        << "cancel 1, book 1 server, send 2 to b, timer first_token 10"
        >> FirstToken(1, 2.0)
        >> Finished(1, 2.0)
        >> failed(1, "cut", 2.0)
        >> Expired("first_token", 1, 10.0)
        >> FirstToken(2, 11.0)
        << "commit 2, timer gap 30"
    )


def test_nothing_follows_the_end() -> None:
    assert (
        started("a", "b")
        >> Finished(1, 1.0)
        << "commit 1, book 1 ok, complete 1"
        >> ClientLeft(2.0)
        >> failed(1, "cut", 2.0)
        >> Expired("keepalive", 0, 10.0)
    )


def test_starting_twice_starts_once() -> None:
    assert started("a", "b") >> Started(0.0)


def test_what_comes_before_the_start_is_ignored() -> None:
    assert Playbook("a") >> FirstToken(0, 0.0) >> Finished(0, 0.0) >> failed(0, "cut", 0.0)


def test_the_words_of_a_timeout_say_how_long_was_waited() -> None:
    exchange = started("a").exchange
    give_up = exchange.on(Expired("first_token", 1, 60.0))[-1]
    assert isinstance(give_up, GiveUp)
    assert give_up.failures[0][1].message == "no first token in 60 s"


# --- any events on any plan -------------------------------------------------------------------------------------

events = st.one_of(st.builds(Started, moments), happenings)
follow = st.builds(
    lambda fault: Failure(FAULTS[fault], "no"),
    st.sampled_from(["server", "server", "rate_limited", "account", "timeout_first_token", "rejected"]),
)


@settings(max_examples=300)
@given(
    st.integers(0, 5),
    st.integers(1, 5),
    st.floats(0.1, 60.0),
    st.booleans(),
    st.integers(0, 2),
    st.sampled_from(["stream", "whole"]),
    st.sampled_from(["none", "continue"]),
    st.lists(events, max_size=15),
    st.lists(follow, max_size=6),
    st.randoms(use_true_random=False),
)
def test_any_events_end_in_one_ending(
    hosts: int,
    most: int,
    within: float,
    stream: bool,
    retries: int,
    answer: Literal["stream", "whole"],
    resume: Literal["none", "continue"],
    noise: list[Event],
    failures: list[Failure],
    order: Random,
) -> None:
    fleet = Fleet(endpoint(name, supports=("prefix",)) for name in "abcde"[:hosts])
    policy = replace(CHEAPEST, attempts=Attempts(most, within, retries), answer=answer, resume=resume)
    asked: Request = request(stream=stream)
    watched = Watched(Exchange(asked, plan(fleet, asked, policy)), at_once=1)
    story: list[Event] = [Started(0.0), *(Failed(n, failure, 1.0) for n, failure in enumerate(failures, 1))]
    for event in noise:  # mixed in at any place, so that attempts fail in order between odd events
        story.insert(order.randint(0, len(story)), event)
    for event in story:
        watched.feed(event)
    watched.feed(ClientLeft(100.0))
    assert watched.ends == 1
    assert watched.exchange.phase == "over"
