"""One endpoint's figures: published ones first, measured ones as they come, by prompt size."""

from math import inf
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.endpoint_state import DEFAULT_TOOLS, DEFAULT_TTL, FADED_WITHIN, WAITED_WITHIN, EndpointState
from gateway.route.peers import FleetMedians
from gateway.route.shared import RATES, SKETCHES, Measured, merge_measured, own_measured
from gateway.route.speeds import DEFAULT_SPEED
from gateway.route.waits import DEFAULT_TTFT, MIDDLES, TYPICAL, scale
from gateway.types import Limits, Measure, Price, Priors, PromptCache
from tests.route.world import NOW, endpoint, fresh, seconds


def answered(count: int, ttft: float = 1.0, uncached: float = 100, speed: float | None = None) -> EndpointState:
    state = EndpointState(endpoint())
    for _ in range(count):
        state.answered(ttft, uncached, speed, 1, NOW)
    return fresh(state, NOW)


def test_published_figures_stand_until_own_traffic_was_seen() -> None:
    state = EndpointState(endpoint(priors=Priors(ttft_p50=0.5, throughput_p50=50, tools_ok=0.7, uptime=0.9)))
    assert seconds(state.waits.p50, TYPICAL) == pytest.approx(0.5, rel=0.1)
    assert (state.speeds.p50, state.speeds.p10) == (50, 25)
    assert (state.tools_ok, state.fails) == pytest.approx((0.7, 0.1))


def test_defaults_stand_where_nothing_was_published() -> None:
    state = EndpointState(endpoint())
    assert seconds(state.waits.p50, TYPICAL) == pytest.approx(DEFAULT_TTFT, rel=0.01)
    assert (state.speeds.p50, state.ttl) == (DEFAULT_SPEED, DEFAULT_TTL)


def test_one_odd_answer_does_not_replace_what_was_published() -> None:
    assert seconds(answered(1, ttft=60.0).waits.p50, 100) < 20


def test_many_answers_do() -> None:
    state = answered(100, ttft=0.3, speed=80.0)
    assert seconds(state.waits.p50, 100) == pytest.approx(0.3, rel=0.1)
    assert state.speeds.p50 == pytest.approx(80, rel=0.1)


def test_every_measure_of_a_policy_has_a_figure() -> None:
    assert set(EndpointState(endpoint()).figures) == set(get_args(Measure))


def test_measured_figures_bind_only_from_enough_samples() -> None:
    few, many = answered(19, speed=30.0).figures, answered(20, speed=30.0).figures
    assert (few["ttft_p95"], few["throughput_p50"]) == (None, None)
    assert many["ttft_p95"] == pytest.approx(1.0, rel=0.08)
    assert many["throughput_p50"] == pytest.approx(30.0, rel=0.08)


def test_peers_may_go_by_an_uptime_of_20_attempts() -> None:
    state = EndpointState(endpoint())
    found = []
    for _ in range(20):
        state.ended(True, NOW)
        found.append(fresh(state, NOW).known.uptime)
    assert found[:19] == [None] * 19
    assert found[19] == pytest.approx(1 - state.fails)


def test_uptime_is_the_share_that_succeeded() -> None:
    state = EndpointState(endpoint())
    for number in range(40):
        state.ended(number % 4 != 0, NOW)
    figures = fresh(state, NOW).figures
    assert figures["uptime_5m"] == pytest.approx(0.75, abs=0.01)
    assert figures["uptime_1h"] == pytest.approx((30 + 10 * 0.99) / 50), "with what is usual"
    assert fresh(state, NOW + 600).figures["uptime_5m"] == pytest.approx(0.8, abs=0.01), "what is usual, without news"
    assert state.figures["uptime_1h"] == pytest.approx(0.8, abs=0.02)


def test_old_trouble_fades_without_new_traffic() -> None:
    state, unknown = answered(100, ttft=30.0), EndpointState(endpoint())
    assert seconds(state.waits.p50) > 20
    assert fresh(state, NOW + 86_400).waits.p50 == pytest.approx(unknown.waits.p50)


def test_figures_are_refreshed_soon_after_learning_and_rarely_without() -> None:
    state = answered(1)
    assert state.due == NOW + 10
    state.answered(1.0, 100, None, 1, NOW + 1)
    assert state.due == pytest.approx(NOW + 1.1)


def test_a_wait_without_an_answer_counts_when_it_was_longer_than_usual() -> None:
    state = answered(20, ttft=1.0)
    for _ in range(20):
        state.censored(0.2, 100, 1, NOW)
    assert seconds(fresh(state, NOW).waits.p50, 100) == pytest.approx(1.0, rel=0.15)
    for _ in range(20):
        state.censored(10.0, 100, 1, NOW)
    assert seconds(fresh(state, NOW).waits.p95, 100) == pytest.approx(10.0, rel=0.15)


def test_a_wait_that_was_broken_off_is_a_time_of_the_endpoint() -> None:
    state = EndpointState(endpoint())
    for _ in range(20):
        state.censored(9.0, 100, 1, NOW)
    assert fresh(state, NOW).figures["ttft_p50"] == pytest.approx(9.0, rel=0.08)


def test_a_time_that_was_not_said_teaches_no_speed() -> None:
    assert answered(20, speed=None).figures["throughput_p50"] is None
    assert answered(20, speed=0.0).figures["throughput_p50"] is None


def test_each_measure_of_its_times_and_speeds_is_its_own_quantile() -> None:
    state = EndpointState(endpoint())
    for number in range(1, 101):
        state.answered(number / 10, 100, float(number), 1, NOW)
    figures = fresh(state, NOW).figures
    times = [figures[one] for one in ("ttft_p50", "ttft_p75", "ttft_p90", "ttft_p95", "ttft_p99")]
    assert times == pytest.approx([5.0, 7.5, 9.0, 9.5, 9.9], rel=0.08)
    names: tuple[Measure, ...] = ("throughput_p50", "throughput_p75", "throughput_p90", "throughput_p99")
    assert [figures[one] for one in names] == list(state.speeds.quantiles)


def test_uptime_in_figures() -> None:
    """The usual one counts 10 attempts; each hung request is one that failed."""
    state = EndpointState(endpoint(priors=Priors(uptime=0.9, ttft_p50=1.0)))
    for _ in range(10):
        state.ended(True, NOW)
    usual = (10 + 0.9 * 10) / 20
    uptime = (10 + 10 * usual) / 20
    assert fresh(state, NOW).fails == pytest.approx(1 - uptime)
    assert state.recent == pytest.approx(10)
    assert state.attempted == pytest.approx(10)
    for ticket in range(3):
        state.waiting(ticket, 100, 0.0, NOW)
    later = fresh(state, NOW + 60)
    counted = later.recent + 10
    assert later.silence.hung == 3
    uptime = (5 + 10 * usual) / 15
    assert later.fails == pytest.approx(1 - uptime * counted / (counted + 3), rel=0.01)


def test_tool_calls_in_figures() -> None:
    """The published share counts 20 calls of what is usual, which counts 20 recent ones."""
    state = EndpointState(endpoint(priors=Priors(tools_ok=0.8)))
    for _ in range(10):
        state.called_tools(False, NOW)
    usual = 0.8 * 20 / 30
    assert fresh(state, NOW).tools_ok == pytest.approx(20 * usual / 30)
    assert EndpointState(endpoint()).tools_ok == DEFAULT_TOOLS


def test_what_peers_may_go_by() -> None:
    nothing = EndpointState(endpoint()).known
    assert nothing == FleetMedians((None,) * 4)
    priors = Priors(ttft_p50=2.0, throughput_p50=60.0, uptime=0.95, tools_ok=0.7)
    published = fresh(EndpointState(endpoint(priors=priors)), NOW)
    known = published.known
    assert known.ttft == (pytest.approx(seconds(published.waits.p50, MIDDLES[0])), None, None, None)
    assert (known.speed, known.uptime, known.tools_ok) == pytest.approx((60, 0.95, 0.7))
    measured = answered(20, ttft=0.5, uncached=5_000, speed=80.0)
    assert measured.known.ttft == (None, pytest.approx(seconds(measured.waits.p50, MIDDLES[1])), None, None)
    assert measured.known.speed == measured.speeds.p50


@pytest.mark.parametrize(
    ("cache", "ttl"),
    [
        (PromptCache(ttl=60.0), 60.0),
        (PromptCache(automatic=True), DEFAULT_TTL),
        (PromptCache(automatic=False), 0.0),
        (PromptCache(), DEFAULT_TTL),
    ],
)
def test_how_long_a_prompt_cache_lasts(cache: PromptCache, ttl: float) -> None:
    assert EndpointState(endpoint(cache=cache)).ttl == ttl


def test_a_changed_configuration_is_computed_at_once_for_its_fleet_too() -> None:
    state = answered(100)
    state.changes.due = state.due
    state.configure(endpoint(priors=Priors(ttft_p50=9.0)))
    assert (state.due, state.changes.due) == (0, 0)


def test_an_endpoint_without_a_price_costs_nothing() -> None:
    figures = EndpointState(endpoint(price=None)).figures
    assert (figures["price.input"], figures["price.output"], figures["price.cached_input"]) == (0, 0, 0)
    assert EndpointState(endpoint(max_output=77)).figures["max_output"] == 77


def test_a_suspect_is_one_as_long_as_something_may_count_against_it() -> None:
    state = EndpointState(endpoint(limits=Limits(concurrency=2)))
    suspects = state.changes.suspected(NOW)
    assert suspects == set()
    state.sent(10, NOW)
    assert state.changes.suspected(NOW) == set()
    state.sent(10, NOW)
    assert state.changes.suspected(NOW) == {state}
    state.done()
    assert state.changes.suspected(NOW) == set()
    state.hold_for(5.0, NOW)
    assert state.held_until == NOW + 5
    assert state.changes.suspected(NOW + 4.9) == {state}
    assert state.changes.suspected(NOW + 5) == set()


def test_silence_holds_it_as_long_as_its_figures_stand() -> None:
    state = answered(100, ttft=1.0)
    for ticket in range(4):
        state.waiting(ticket, 100, 0.0, NOW)
    assert fresh(state, NOW + 10).held_until == NOW + 10 + FADED_WITHIN
    assert state.changes.suspected(NOW + 10) == {state}
    state.sent(10, NOW + 15)
    assert state.held_until == NOW + 15 + FADED_WITHIN


def test_slow_start_counts_what_ends_and_yields_to_a_lower_limit() -> None:
    state = EndpointState(endpoint(limits=Limits(concurrency=3)))
    assert not state.ramping
    state.starts_slowly()
    assert (state.concurrency, state.ramping) == (2, True)
    state.ended(True, NOW)
    assert (state.concurrency, state.ramping) == (3, False)
    state.ended(False, NOW)
    assert (state.concurrency, state.ramping) == (2, True)
    assert EndpointState(endpoint()).concurrency == inf


def test_a_time_is_judged_against_the_peers_at_that_size() -> None:
    state = EndpointState(endpoint())
    state.refresh(NOW, FleetMedians((None, 2.0, None, None)))
    for _ in range(20):
        state.answered(1.0, 100, None, 1, NOW)
    assert state.standing.slowness(NOW) is None, "nothing is known of small prompts"
    for _ in range(20):
        state.answered(3 * 2.0 * scale(5_000) / scale(MIDDLES[1]), 5_000, None, 1, NOW)
    assert state.standing.slowness(NOW) == pytest.approx(3, rel=0.08)


def test_a_first_token_shows_at_once() -> None:
    state = answered(100, ttft=1.0)
    for _ in range(20):
        state.began(5.0, 100, 1, NOW + 1)
    assert state.due == pytest.approx(NOW + 1.1)
    assert seconds(fresh(state, NOW + 2).waits.p50, 100) > 1.5


def test_a_few_failures_show_however_many_answers_came_before() -> None:
    state = EndpointState(endpoint())
    for _ in range(5_000):
        state.ended(True, NOW)
    for _ in range(20):
        state.ended(False, NOW)
    assert fresh(state, NOW).fails > 0.3
    assert fresh(state, NOW + 600).fails < 0.05, "and are forgiven"


def test_attempts_that_end_between_two_refreshes_count_as_when_they_ended() -> None:
    late, soon = EndpointState(endpoint()), EndpointState(endpoint())
    for number in range(60):
        for state in (late, soon):
            state.ended(number % 3 > 0, NOW + number)
        fresh(soon, NOW + number)
    end = NOW + 600
    assert fresh(late, end).fails == pytest.approx(fresh(soon, end).fails)
    assert late.attempted == pytest.approx(soon.attempted)


def silent_after(state: EndpointState, writing: float = 0.0) -> int:
    """Seconds until one request that waits makes it silent."""
    state.waiting(1, 1_000, writing, NOW)
    for waited in range(1, 10_000):
        state.silence.judge(NOW + waited)
        if state.silence.silent:
            return waited
    raise AssertionError("it is never silent")


def test_silence_takes_as_many_times_longer_as_the_request_usually_does() -> None:
    idle, busy, usual = answered(1), answered(1), seconds(answered(1).waits.p50)
    for _ in range(200):
        busy.sent(1_000, NOW)
    assert silent_after(busy) == pytest.approx(busy.load.crowded * silent_after(idle), rel=0.1)
    assert busy.load.crowded > 1.3
    assert silent_after(idle, writing=2 * usual) == pytest.approx(3 * silent_after(idle), rel=0.1)


def test_what_is_in_flight_slows_the_next_request() -> None:
    state = answered(1)
    assert (state.load.crowded, state.load.slowed) == (1, 1)
    for _ in range(20):
        state.sent(1_000, NOW)
    assert state.load.crowded == state.waits.load.factor(21) > 1
    assert state.load.slowed == state.speeds.load.factor(21) > 1
    for _ in range(20):
        state.done()
    assert (state.load.crowded, state.load.slowed) == (1, 1)


def test_figures_are_refreshed_sooner_while_requests_wait() -> None:
    state = answered(100, ttft=1.0)
    state.waiting(1, 100, 0.0, NOW)
    assert state.due == NOW + WAITED_WITHIN
    assert fresh(state, NOW + 1).due == NOW + 1 + WAITED_WITHIN
    state.silence.ended(1)
    assert fresh(state, NOW + 2).due == NOW + 2 + FADED_WITHIN


def test_silence_sets_it_back_until_a_first_token_comes() -> None:
    state = answered(100, ttft=1.0)
    for ticket in range(4):
        state.waiting(ticket, 100, 0.0, NOW)
    assert fresh(state, NOW + 1).held_until == 0
    assert fresh(state, NOW + 10).held_until > NOW + 10
    assert state.fails > 0.2
    for ticket in range(4):
        state.silence.began(ticket)
    assert fresh(state, NOW + 11).held_until == 0
    assert state.fails < 0.02


def test_confirmed_matches_raise_the_trust_in_the_prompt_cache() -> None:
    always, never = EndpointState(endpoint()), EndpointState(endpoint())
    for _ in range(20):
        always.cached(1.0, 1.0, NOW)
        never.cached(1.0, 0.0, NOW)
    assert fresh(always, NOW).hit_rate > 0.9
    assert fresh(never, NOW).hit_rate < 0.1


def test_tool_calls_move_the_published_score() -> None:
    state = EndpointState(endpoint(priors=Priors(tools_ok=0.9)))
    for _ in range(60):
        state.called_tools(False, NOW)
    assert fresh(state, NOW).tools_ok < 0.3


def test_a_changed_configuration_keeps_what_was_measured() -> None:
    state = answered(100, ttft=0.3)
    before = state.waits.p50
    state.configure(endpoint(price=Price(1.0, 2.0), context=1_000, cache=PromptCache(automatic=False)))
    fresh(state, NOW)
    assert state.waits.p50 == before
    assert (state.figures["price.input"], state.figures["price.cached_input"]) == (1.0, 1.0)
    assert (state.figures["context"], state.figures["max_output"], state.ttl) == (1_000, 1_000, 0.0)


# --- what workers share -----------------------------------------------------------------------------------------


def history(of: EndpointState, count: int, now: float = NOW) -> None:
    """Answers of every size at every load, some failures, tool calls and cache hits."""
    for number in range(count):
        at, in_flight = now + number, 1 + number % 30
        ttft, uncached = 0.5 + in_flight / 10, 100 * number % 40_000
        of.began(ttft, uncached, in_flight, at)
        of.answered(ttft, uncached, 50.0, in_flight, at)
        of.ended(number % 5 != 0, at)
        of.cached(1.0, 0.5, at)
        of.called_tools(number % 3 != 0, at)


def shown(of: EndpointState, now: float) -> list[float]:
    """Every figure that decisions read."""
    fresh(of, now)
    waits, speeds = of.waits, of.speeds
    shares = of.fails, of.tools_ok, of.hit_rate, of.recent
    loads = [load.factor(20) for load in (waits.load, speeds.load)]
    times = [one for row in waits.quantiles for one in row]
    return [*times, *waits.mean, *waits.scatter, waits.level, *speeds.quantiles, speeds.token_s, *shares, *loads]


def test_what_is_published_for_workers_has_the_shape_that_they_decode() -> None:
    state = EndpointState(endpoint())
    history(state, 50)
    found = own_measured(state, NOW + 50)
    assert (len(found.sketches), len(found.rates)) == (SKETCHES, RATES)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Measured) == found


def test_a_worker_without_traffic_expects_what_the_others_measured() -> None:
    busy, idle = EndpointState(endpoint()), EndpointState(endpoint())
    history(busy, 300)
    now = NOW + 300
    merge_measured(idle, [(own_measured(busy, now), 0.0)], now)
    assert shown(idle, now) == pytest.approx(shown(busy, now), rel=0.01, abs=0.01)


def test_what_others_saw_of_load_slows_what_is_in_flight_here() -> None:
    busy, idle = EndpointState(endpoint()), EndpointState(endpoint())
    history(busy, 300)
    for _ in range(19):
        idle.sent(1_000, NOW + 300)
    before = idle.load.crowded
    merge_measured(idle, [(own_measured(busy, NOW + 300), 0.0)], NOW + 300)
    assert fresh(idle, NOW + 301).load.crowded == idle.waits.load.factor(20) > 1.5 * before


def test_samples_are_as_old_as_they_are_when_they_arrive() -> None:
    busy, idle = EndpointState(endpoint()), EndpointState(endpoint())
    history(busy, 300)
    measured, later = own_measured(busy, NOW + 300), NOW + 330
    merge_measured(idle, [(measured, 30.0)], later)
    assert shown(idle, later) == pytest.approx(shown(busy, later), rel=0.01, abs=0.01)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 3))
def test_samples_of_others_are_counted_once_and_never_passed_on(mine: int, theirs: int, times: int) -> None:
    here, there, everything = (EndpointState(endpoint()) for _ in range(3))
    history(here, mine)
    history(there, theirs)
    history(everything, mine)
    history(everything, theirs)
    now = NOW + 60
    before, published = own_measured(here, now), own_measured(there, now)
    for _ in range(times):
        merge_measured(here, [(published, 0.0)], now)
    assert own_measured(here, now) == before
    assert here.waits.trends[0].usual.count(now) == pytest.approx(everything.waits.trends[0].usual.count(now), rel=0.01)
    merge_measured(here, [], now)
    alone = EndpointState(endpoint())
    history(alone, mine)
    assert shown(here, now) == pytest.approx(shown(alone, now))
