from gateway.route.decide import make_plan
from gateway.route.fleet import Fleet
from gateway.route.plan import Choice
from gateway.route.toll import SLACK_TOKENS
from gateway.sim.baselines import LIST_PRICE
from gateway.sim.fleetfile import endpoint
from gateway.sim.shares import Shares
from gateway.types import Request
from tests.sim.world import host

REQUEST = Request(id="1", body={}, model="m", policy="", stream=True, prompt_tokens=1_000)


def choices(*names: str) -> tuple[Choice, ...]:
    fleet = Fleet([endpoint(host(name)) for name in names])
    return make_plan(REQUEST, LIST_PRICE, fleet, 0.0, 0, lambda: 0.5).ranked


def test_who_took_more_than_the_cap_and_its_slack_is_not_under_it() -> None:
    two, slack = choices("a", "b"), round(SLACK_TOKENS)
    shares = Shares(["a", "b"], cap=0.5)
    assert shares.under(two) == list(two)
    shares.add("a", 2 * slack)  # half of it, and the slack
    assert shares.under(two) == list(two)
    shares.add("a", 1_000_000)
    assert [one.endpoint.id for one in shares.under(two)] == ["b"]
    shares.add("b", 2_000_000)
    assert shares.under(two) == list(two)
    assert [one.endpoint.id for one in shares.under(two, 0.5)] == []


def test_without_a_cap_nothing_is_too_much() -> None:
    shares = Shares(["a"], cap=1.0)
    shares.add("a", 10**12)
    assert len(shares.under(choices("a"))) == 1
