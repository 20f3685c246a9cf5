"""One endpoint's figures: published ones first, measured ones as they come, by prompt size."""

from typing import get_args

import pytest

from gateway.route.endpoint import DEFAULT_SPEED, DEFAULT_TTFT, DEFAULT_TTL, ENOUGH, EndpointState, size_class
from gateway.types import Measure, Price, Priors, PromptCache
from tests.route.world import NOW, endpoint, fresh


def answered(count: int, ttft: float = 1.0, uncached: float = 100, speed: float | None = None) -> EndpointState:
    state = EndpointState(endpoint())
    for _ in range(count):
        state.answered(ttft, uncached, speed, 1, NOW)
    return fresh(state, NOW)


@pytest.mark.parametrize(
    ("tokens", "index"), [(0, 0), (2_000, 0), (2_001, 1), (8_000, 1), (32_000, 2), (32_001, 3), (1e9, 3)]
)
def test_size_classes(tokens: float, index: int) -> None:
    assert size_class(tokens) == index


def test_published_figures_stand_until_own_traffic_was_seen() -> None:
    state = EndpointState(endpoint(priors=Priors(ttft_p50=0.5, throughput_p50=50, tools_ok=0.7, uptime=0.9)))
    assert (state.ttft_p50[0], state.speed_p50, state.speed_p10) == (0.5, 50, 25)
    assert (state.tools_ok, state.fails) == pytest.approx((0.7, 0.1))


def test_defaults_stand_where_nothing_was_published() -> None:
    state = EndpointState(endpoint())
    assert (state.ttft_p50[0], state.speed_p50, state.ttl) == (DEFAULT_TTFT, DEFAULT_SPEED, DEFAULT_TTL)


def test_larger_prompts_are_expected_to_take_longer() -> None:
    assert EndpointState(endpoint()).ttft_p50 == [1.5, 1.75, 2.5, 5.5]


def test_one_odd_answer_does_not_replace_what_was_published() -> None:
    assert answered(1, ttft=60.0).ttft_p50[0] < 20


def test_many_answers_do() -> None:
    state = answered(100, ttft=0.3, speed=80.0)
    assert state.ttft_p50[0] == pytest.approx(0.3, rel=0.2)
    assert state.speed_p50 == pytest.approx(80, rel=0.1)


def test_prompt_sizes_are_learned_apart() -> None:
    state = answered(100, ttft=9.0, uncached=50_000)
    assert state.ttft_p50[3] == pytest.approx(9.0, rel=0.1)
    assert state.ttft_p50[0] == DEFAULT_TTFT


def test_the_slowest_answers_are_known_only_from_enough() -> None:
    assert answered(int(ENOUGH) - 1).ttft_p99[0] == 0
    assert answered(int(ENOUGH)).ttft_p99[0] == pytest.approx(1.0, rel=0.08)


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
    assert fresh(state, NOW + 600).figures["uptime_5m"] is None, "after four half-lives too few are left"
    assert state.figures["uptime_1h"] == pytest.approx(0.75, abs=0.01)


def test_old_trouble_fades_without_new_traffic() -> None:
    state = answered(100, ttft=30.0)
    assert state.ttft_p50[0] > 20
    assert fresh(state, NOW + 86_400).ttft_p50[0] == pytest.approx(DEFAULT_TTFT)


def test_figures_are_due_soon_after_learning_and_rarely_without() -> None:
    state = answered(1)
    assert state.due == NOW + 10
    state.answered(1.0, 100, None, 1, NOW + 1)
    assert state.due == pytest.approx(NOW + 1.1)


def test_a_wait_in_vain_counts_when_it_was_longer_than_usual() -> None:
    state = answered(20, ttft=1.0)
    for _ in range(20):
        state.waited(0.2, 0, NOW)
    assert fresh(state, NOW).ttft_p50[0] == pytest.approx(1.0, rel=0.1)
    for _ in range(20):
        state.waited(10.0, 0, NOW)
    assert fresh(state, NOW).ttft_p95[0] == pytest.approx(10.0, rel=0.1)


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
    state.configure(endpoint(price=Price(1.0, 2.0), context=1_000, cache=PromptCache(automatic=False)))
    fresh(state, NOW)
    assert state.ttft_p50[0] == pytest.approx(0.3, rel=0.2)
    assert (state.figures["price.input"], state.figures["price.cached_input"]) == (1.0, 1.0)
    assert (state.figures["context"], state.figures["max_output"], state.ttl) == (1_000, 1_000, 0.0)
