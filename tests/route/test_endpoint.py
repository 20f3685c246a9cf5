"""One endpoint's figures: published ones first, measured ones as they come, by prompt size."""

from typing import get_args

import pytest

from gateway.route.endpoint import DEFAULT_TTL, EndpointState
from gateway.route.speeds import DEFAULT_SPEED
from gateway.route.waits import DEFAULT_TTFT, TYPICAL
from gateway.types import Measure, Price, Priors, PromptCache
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


def test_uptime_is_the_share_that_succeeded() -> None:
    state = EndpointState(endpoint())
    for number in range(40):
        state.ended(number % 4 != 0, NOW)
    figures = fresh(state, NOW).figures
    assert figures["uptime_5m"] == pytest.approx(0.75, abs=0.01)
    assert figures["uptime_1h"] == pytest.approx(0.75, abs=0.01)
    assert fresh(state, NOW + 600).figures["uptime_5m"] == pytest.approx(0.8, abs=0.01), "what is usual, without news"
    assert state.figures["uptime_1h"] == pytest.approx(0.75, abs=0.01)


def test_old_trouble_fades_without_new_traffic() -> None:
    state, unknown = answered(100, ttft=30.0), EndpointState(endpoint())
    assert seconds(state.waits.p50) > 20
    assert fresh(state, NOW + 86_400).waits.p50 == pytest.approx(unknown.waits.p50)


def test_figures_are_due_soon_after_learning_and_rarely_without() -> None:
    state = answered(1)
    assert state.due == NOW + 10
    state.answered(1.0, 100, None, 1, NOW + 1)
    assert state.due == pytest.approx(NOW + 1.1)


def test_a_wait_in_vain_counts_when_it_was_longer_than_usual() -> None:
    state = answered(20, ttft=1.0)
    for _ in range(20):
        state.waited(0.2, 100, 1, NOW)
    assert seconds(fresh(state, NOW).waits.p50, 100) == pytest.approx(1.0, rel=0.15)
    for _ in range(20):
        state.waited(10.0, 100, 1, NOW)
    assert seconds(fresh(state, NOW).waits.p95, 100) == pytest.approx(10.0, rel=0.15)


def test_confirmed_matches_raise_the_trust_in_the_prompt_cache() -> None:
    always, never = EndpointState(endpoint()), EndpointState(endpoint())
    for _ in range(20):
        always.confirmed(1.0, NOW)
        never.confirmed(0.0, NOW)
    assert fresh(always, NOW).confirm > 0.9
    assert fresh(never, NOW).confirm < 0.1


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
