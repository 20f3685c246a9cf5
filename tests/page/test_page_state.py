"""From which time to first token an exchange is slow: by its endpoint's own times, and by its policy's limits."""

from gateway.page.page_state import slow_from
from gateway.route.endpoint_state import ENOUGH
from gateway.route.fleet import Fleet
from gateway.types import Limit, Policy, Require
from tests.route.world import NOW, endpoint

QUICK = Policy("quick", prefer=(Limit("ttft_p95", "<=", 2.0),), require=Require(limits=(Limit("ttft_p50", "<=", 1.5),)))


def test_an_endpoint_without_samples_and_a_policy_without_limits_call_nothing_slow() -> None:
    fleet = Fleet([endpoint("a/fp8")])
    assert slow_from({"plain": Policy("plain")}, {"m": fleet}) == {}


def test_twice_the_95th_percentile_or_the_lowest_limit() -> None:
    fleet = Fleet([endpoint("a/fp8"), endpoint("b/fp8")])
    state = fleet.states["a/fp8"]
    for _ in range(int(ENOUGH) + 10):
        state.answered(0.5, 1_000, None, 1, NOW)
    state.refresh(NOW)
    p95 = state.figures["ttft_p95"]
    assert p95 is not None
    found = slow_from({"plain": Policy("plain"), "quick": QUICK}, {"m": fleet})
    assert found == {
        ("plain", "a/fp8"): 2 * p95,
        ("quick", "a/fp8"): min(1.5, 2 * p95),
        ("quick", "b/fp8"): 1.5,
    }
