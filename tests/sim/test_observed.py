import pytest

from gateway.sim.observed import Observed
from gateway.types import Failure, Fault, Price, Usage

PRICE = Price(0.3, 1.0, 0.03)


def answers(observed: Observed, count: int, cached: int = 0, ttft: float = 1.0, speed: float = 50.0) -> Observed:
    for _ in range(count):
        observed.billed(Usage(1_000, cached, 100, 0, "host"), PRICE, 0.0)
        observed.timed(ttft, speed, 100, 0.0)
        observed.ended(None, 0.0)
    return observed


def test_an_endpoint_without_traffic_looks_like_a_usual_peer() -> None:
    peer, new = answers(Observed(), 500, cached=500, ttft=2.0, speed=40.0), Observed()
    assert new.input_usd(Price(0.1, 0.1, 0.05), peer, 0.0) * 1e6 == pytest.approx(0.075)  # its price, a peer's hits
    assert new.ttft(peer, 0.0) == pytest.approx(2.0, rel=0.02)
    assert new.token_s(peer, 0.0) == pytest.approx(1 / 40, rel=0.02)
    assert new.errors(peer, 0.0) == new.limited(peer, 0.0) == 0.0


def test_with_traffic_it_is_judged_by_its_own() -> None:
    peer, own = answers(Observed(), 500), answers(Observed(), 500, cached=900, ttft=3.0, speed=20.0)
    effective = 0.9 * 0.03 + 0.1 * 0.3
    assert own.input_usd(PRICE, peer, 0.0) * 1e6 == pytest.approx(effective, rel=0.05)
    assert own.ttft(peer, 0.0) == pytest.approx(3.0, rel=0.02)
    assert own.token_s(peer, 0.0) == pytest.approx(1 / 20, rel=0.02)


def test_old_traffic_fades() -> None:
    peer, own = answers(Observed(), 500), answers(Observed(), 20, cached=900)
    assert own.input_usd(PRICE, peer, 0.0) < 0.6 * own.input_usd(PRICE, peer, 3_600.0)


def test_errors_and_429s_are_counted_apart_and_the_clients_fault_is_neither() -> None:
    peer, own = answers(Observed(), 500), answers(Observed(), 97)
    own.ended(Failure(Fault.SERVER, "", 503), 0.0)
    own.ended(Failure(Fault.RATE_LIMITED, "", 429), 0.0)
    own.ended(Failure(Fault.REJECTED, "", 400), 0.0)
    assert own.errors(peer, 0.0) == own.limited(peer, 0.0) == pytest.approx(0.01, rel=0.1)


def test_before_any_answer_all_look_alike() -> None:
    peer, own = Observed(), Observed()
    assert own.input_usd(PRICE, peer, 0.0) * 1e6 == pytest.approx(0.3)
    assert own.ttft(peer, 0.0) > 0
    assert own.token_s(peer, 0.0) > 0
