from random import Random
from statistics import quantiles

import pytest

from gateway.sim.demofleet import FLEET
from gateway.sim.sim_host import TYPICAL_UNCACHED, SimHost, draw_speed, draw_ttft

each_host = pytest.mark.parametrize("host", FLEET, ids=lambda host: host.id)


@each_host
def test_ttft_draws_have_the_measured_percentiles(host: SimHost) -> None:
    rng = Random(1)
    percent = quantiles((draw_ttft(rng, host, TYPICAL_UNCACHED) for _ in range(20_000)), n=100)
    assert percent[49] == pytest.approx(host.ttft.p50, rel=0.05)
    assert percent[89] == pytest.approx(host.ttft.p90, rel=0.10)  # the extra tail pushes the widest spreads up
    assert percent[98] <= host.ttft.p99 * 1.1


@each_host
def test_speed_draws_have_the_measured_percentiles(host: SimHost) -> None:
    rng = Random(2)
    percent = quantiles((draw_speed(rng, host) for _ in range(20_000)), n=100)
    assert percent[49] == pytest.approx(host.throughput.p50, rel=0.05)
    assert percent[89] == pytest.approx(host.throughput.p90, rel=0.05)


def test_cached_tokens_save_their_prefill() -> None:
    host = FLEET[0]
    long, short = (draw_ttft(Random(3), host, uncached) for uncached in (80_000, 8_000))
    assert long - short == pytest.approx(72_000 / host.prefill)


def test_no_prompt_is_so_short_that_the_first_token_comes_before_the_request() -> None:
    rng = Random(4)
    assert all(draw_ttft(rng, host, 0) > 0 for host in FLEET for _ in range(1000))


@each_host
def test_failures_add_up_to_the_measured_uptime(host: SimHost) -> None:
    assert host.rates.server_error + host.rates.cut == pytest.approx(1 - host.uptime)
    assert 0 < host.hit_efficiency <= 1
