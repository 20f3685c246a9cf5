from dataclasses import replace
from random import Random

import pytest

from gateway.sim.fitted import ENOUGH, PREFILL, fit
from gateway.sim.sim_host import TYPICAL_UNCACHED, Wait, draw_ttft
from gateway.types import Endpoint, OutcomeName, Price, PromptCache, Row
from tests.sim.world import host


def endpoint(name: str) -> Endpoint:
    return Endpoint(name, name, None, None, price=Price(0.2, 0.4, 0.02), cache=PromptCache(True, 900.0))


ENDPOINTS = {name: endpoint(name) for name in "ab"}


def attempt(
    name: str,
    outcome: OutcomeName = "ok",
    ttft: float | None = 1.0,
    prompt: int = TYPICAL_UNCACHED,
    cached: int = 0,
    model: str = "m",
) -> Row:
    """Answers 101 tokens in 4 s after the first."""
    return Row(
        id="",
        exchange="",
        at=0.0,
        tenant="",
        app="",
        model=model,
        policy="",
        stream=True,
        endpoint=name,
        provider=name,
        attempt=1,
        outcome=outcome,
        ttft=ttft,
        duration=(ttft or 0.0) + 4.0,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=101,
        throughput=None if ttft is None else 25.0,
    )


def test_a_host_is_as_fast_as_it_was() -> None:
    rows = [attempt("a", ttft=tenth / 10) for tenth in range(1, 101)]
    (fitted,) = fit(rows, ENDPOINTS).hosts
    assert fitted.ttft == Wait(5.0, 9.0, 9.9)
    assert fitted.throughput.p90 == pytest.approx(25.0)
    assert (fitted.price, fitted.cache_ttl, fitted.uptime) == (Price(0.2, 0.4, 0.02), 900.0, 1.0)


def test_long_prompts_do_not_make_a_host_slow() -> None:
    rows = [attempt("a", ttft=3.0, prompt=TYPICAL_UNCACHED + int(2 * PREFILL))] * ENOUGH
    assert fit(rows, ENDPOINTS).hosts[0].ttft.p50 == pytest.approx(1.0)


def test_failures_are_counted_by_kind() -> None:
    outcomes: list[tuple[OutcomeName, float | None]] = [
        *([("server", None)] * 10),
        *([("cut", 1.0)] * 5),
        *([("rate_limited", None)] * 5),
        *([("cancelled", None)] * 50),
        *([("malformed", None)] * 50),
    ]
    rows = [attempt("a")] * 80 + [attempt("a", outcome, ttft) for outcome, ttft in outcomes]
    rates = fit(rows, ENDPOINTS).hosts[0].rates
    assert (rates.server_error, rates.cut, rates.rate_limited) == (0.1, 0.05, 0.05)


def test_the_best_host_honours_every_prefix_and_the_others_as_they_did() -> None:
    rows = [attempt("a", cached=1_400)] * ENOUGH + [attempt("b", cached=350)] * ENOUGH
    assert [one.hit_efficiency for one in fit(rows, ENDPOINTS).hosts] == [1.0, 0.25]
    assert fit([attempt("a")] * ENOUGH, ENDPOINTS).hosts[0].hit_efficiency == 0.0


def test_an_endpoint_of_which_too_little_is_known_is_left_out() -> None:
    rows = [attempt("a")] * ENOUGH + [attempt("b")] * (ENOUGH - 1) + [attempt("gone")] * 100
    hosts, left_out = fit(rows, ENDPOINTS)
    assert ([one.id for one in hosts], left_out) == (["a"], ("b",))


def test_an_endpoint_that_was_never_tried_is_not_left_out() -> None:
    hosts, left_out = fit([attempt("a")] * ENOUGH, ENDPOINTS)
    assert ([one.id for one in hosts], left_out) == (["a"], ())
    assert fit([], ENDPOINTS) == ((), ())


def test_a_fitted_host_is_as_slow_as_the_one_that_was_measured() -> None:
    measured, rng = replace(host("a"), ttft=Wait(1.0, 2.0, 4.0)), Random(1)
    rows = [attempt("a", ttft=draw_ttft(rng, measured, TYPICAL_UNCACHED)) for _ in range(4_000)]
    (fitted,) = fit(rows, ENDPOINTS).hosts
    assert fitted.ttft.p50 == pytest.approx(1.0, rel=0.05)
    assert fitted.ttft.p90 == pytest.approx(2.0, rel=0.1)
