"""The state of an endpoint in words: in use, on trial, set back, unused, retired; why, and until when."""

from typing import Any

import pytest

from gateway.page.endpoint_view import Condition, condition, shown_endpoint
from gateway.page.page_types import DroppedPick, PolicyPick
from gateway.route.endpoint_state import EndpointState
from gateway.route.fleet import Fleet
from gateway.types import Price
from gateway.types.endpoint import Priors
from tests.route.world import NOW, endpoint


@pytest.fixture
def state() -> EndpointState:
    return Fleet([endpoint("a/fp8")]).states["a/fp8"]


def test_an_endpoint_without_trouble_is_in_use(state: EndpointState) -> None:
    assert condition(state, {}, NOW) == Condition("in use")


def test_an_open_breaker_sets_it_back_then_it_is_on_trial(state: EndpointState) -> None:
    state.breaker.trip(NOW, 0.0, "server")
    assert condition(state, {}, NOW) == Condition("set back", "after server errors", NOW + 5)
    assert condition(state, {}, NOW + 5).state == "on trial"
    state.breaker.trip(NOW + 5, 0.0, "account 401")
    assert condition(state, {}, NOW + 5).why == "after a refused account 401"


def test_a_rate_limit_and_an_outlier_are_set_back_until_their_time(state: EndpointState) -> None:
    state.refused(NOW, 30.0, NOW)
    found = condition(state, {}, NOW)
    assert (found.state, found.until) == ("set back", NOW + 30)
    assert found.why
    assert condition(state, {}, NOW + 31).state == "in use"
    state.standing.set_back("60% of its requests fail, 1% at its peers", NOW + 40)
    assert condition(state, {}, NOW + 40).why == "60% of its requests fail, 1% at its peers"


def test_slow_start_is_on_trial(state: EndpointState) -> None:
    state.starts_slowly()
    assert condition(state, {}, NOW).state == "on trial"


def test_what_every_policy_rules_out_is_set_back(state: EndpointState) -> None:
    dropped = PolicyPick(None, "none", [], [DroppedPick("a/fp8", "require.zdr: zero data retention is unknown")])
    found = condition(state, {"private": dropped, "other": dropped}, NOW)
    assert (found.state, found.until) == ("set back", None)
    assert found.why.endswith("as by require.zdr: zero data retention is unknown")
    kept = PolicyPick("a/fp8", "cheapest", [], [])
    assert condition(state, {"private": dropped, "floor": kept}, NOW).state == "in use"


def test_in_the_catalogue_but_not_in_use() -> None:
    def shown(secrets: dict[str, str], **changes: Any) -> tuple[str, str, str | None]:
        one = shown_endpoint(endpoint(**changes), None, {}, secrets, NOW, 0.0)
        return one.state, one.why, one.set

    assert shown({}, status="retired", note="Gone.") == ("retired", "Gone.", None)
    assert shown({}, status="retired", retires="2026-03-13") == ("retired", "since 2026-03-13", None)
    assert shown({}, api_key_env="A_KEY") == ("unused", "set A_KEY", "A_KEY")
    assert shown({}, api_key_env="A_KEY", price=None) == ("unused", "lacks price", None)


def test_its_facts() -> None:
    facts = endpoint("a/fp8", price=Price(1.0, 2.0), priors=Priors(uptime=0.98), simulated=True, max_output=4_096)
    state = EndpointState(facts)
    state.in_flight, state.elsewhere = 2, 3
    one = shown_endpoint(facts, state, {}, {}, NOW, 1_000_000.0)
    assert (one.in_flight, one.simulated, one.max_output, one.published_uptime) == (5, True, 4_096, 0.98)
    assert one.price is not None
    assert (one.price.input, one.price.cached_input, one.price.output) == (1.0, 1.0, 2.0)


def test_until_is_in_unix_time(state: EndpointState) -> None:
    state.breaker.trip(NOW, 0.0, "server")
    assert shown_endpoint(state.endpoint, state, {}, {}, NOW + 1, 1_000_000.0).until == 1_000_004.0


def test_the_price_is_that_of_this_moment(state: EndpointState) -> None:
    """Prices change while the gateway runs: the catalogue has those of its start."""
    at_the_start, state.endpoint = state.endpoint, endpoint("a/fp8", price=Price(9.0, 9.0))
    one = shown_endpoint(at_the_start, state, {}, {}, NOW, 0.0)
    assert one.price is not None
    assert one.price.input == 9.0
