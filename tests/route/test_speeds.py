"""Output speeds: published ones first, then measured ones, as they are now."""

from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.peers import NO_PEERS, FleetMedians
from gateway.route.speeds import DEFAULT_SPEED, ENOUGH, MEAN_TOKEN, SHARES, Speeds
from gateway.route.trend import level
from gateway.types import Priors
from tests.route.world import NOW

NOTHING = Priors()


class Host:
    """Answers one request a second, at speeds that scatter around 100 tokens a second."""

    def __init__(self, scatter: float = 0.3) -> None:
        self._random, self._scatter = Random(1), scatter
        self.now = NOW
        self.speeds = unknown()

    def answers(self, count: int, factor: float = 1.0, in_flight: int = 1) -> Speeds:
        for _ in range(count):
            self.now += 1
            self.speeds.add(factor * 100 * exp(self._random.gauss(0, self._scatter)), in_flight, self.now)
        return self.after(0)

    def after(self, pause: float) -> Speeds:
        self.now += pause
        self.speeds.refresh(self.now, NOTHING)
        return self.speeds


def unknown(priors: Priors = NOTHING, peers: FleetMedians = NO_PEERS) -> Speeds:
    speeds = Speeds()
    speeds.refresh(NOW, priors, peers)
    return speeds


def test_before_anything_was_measured_it_is_what_is_published_or_usual() -> None:
    peers = FleetMedians((None,) * 4, speed=70.0)
    assert unknown().p50 == DEFAULT_SPEED
    assert unknown(peers=peers).p50 == 70
    assert unknown(Priors(throughput_p50=50.0), peers).p50 == 50
    assert unknown(Priors(throughput_p50=50.0)).p10 == 25
    assert unknown(Priors(throughput_p50=50.0)).token_s == pytest.approx(MEAN_TOKEN / 50)


def test_one_odd_answer_says_little_and_many_say_all() -> None:
    host = Host()
    assert DEFAULT_SPEED < host.answers(1).p50 < 90
    assert host.answers(200).p50 == pytest.approx(100, rel=0.1)
    assert host.speeds.token_s == pytest.approx(exp(0.3**2 / 2) / 100, rel=0.1)


def test_speeds_in_figures() -> None:
    """What is published counts 3 samples, in logarithms; a level is over both."""
    speeds = unknown(Priors(throughput_p50=50.0))
    for _ in range(10):
        speeds.add(100.0, 1, NOW)
    speeds.refresh(NOW, Priors(throughput_p50=50.0))
    (bucket,) = speeds.trend.usual.quantiles((0.5,))
    assert bucket == pytest.approx(100, rel=0.08)
    mean, variance = speeds.trend.logs(10.0, log(50), 0.4**2)
    assert speeds.level == level([(speeds.trend, mean, variance)], NOW) > 1
    for found, over in zip(speeds.quantiles, (1.0, 0.76, 0.5, 0.39), strict=True):
        assert found == pytest.approx(speeds.level * bucket ** (10 / 13) * (50 * over) ** (3 / 13))
    assert speeds.token_s == pytest.approx((1 / bucket) ** (10 / 13) * (MEAN_TOKEN / 50) ** (3 / 13) / speeds.level)


def test_it_is_known_only_from_enough() -> None:
    host = Host()
    assert not host.answers(int(ENOUGH) - 1).known
    assert host.answers(2).known


@pytest.mark.parametrize(("count", "known"), [(19, False), (20, True)])
def test_20_answers_at_once_are_enough(count: int, known: bool) -> None:
    speeds = unknown()
    for _ in range(count):
        speeds.add(100.0, 1, NOW)
    speeds.refresh(NOW, NOTHING)
    assert speeds.known is known


def test_a_change_shows_within_40_answers_and_is_forgiven_within_minutes() -> None:
    host = Host()
    before, token_s = host.answers(600).p50, host.speeds.token_s
    slower = host.answers(40, factor=1 / 3)
    assert slower.p50 < 0.7 * before
    assert slower.token_s > token_s / 0.7
    assert host.after(600).p50 == pytest.approx(before, rel=0.16)
    assert host.speeds.level == 1


def test_steady_answers_leave_the_level_at_1() -> None:
    host = Host()
    host.answers(300)
    levels = [host.answers(10).level for _ in range(50)]
    assert sum(level == 1 for level in levels) >= 35
    assert 0.85 < min(levels) <= max(levels) < 1.2


def test_slowness_that_comes_with_load_is_not_the_hosts() -> None:
    host, random = Host(scatter=0.1), Random(2)
    for _ in range(600):
        in_flight = random.randint(1, 40)
        host.answers(1, 1 / (1 + max(0, in_flight - 8) / 16), in_flight)
    assert host.speeds.p50 == pytest.approx(100, rel=0.15)
    assert host.speeds.load.factor(32) == pytest.approx(2.5, rel=0.25)


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.integers(1, 500), st.floats(0.0, 1e4)), max_size=60))
def test_figures_are_in_order_whatever_happens(history: list[tuple[float, int, float]]) -> None:
    speeds, now = unknown(), NOW
    for speed, in_flight, pause in history:
        now += pause
        speeds.add(speed, in_flight, now)
        speeds.refresh(now, NOTHING)
    assert len(speeds.quantiles) == len(SHARES)
    assert list(speeds.quantiles) == sorted(speeds.quantiles, reverse=True)
    assert speeds.quantiles[-1] > 0
    assert speeds.token_s > 0
