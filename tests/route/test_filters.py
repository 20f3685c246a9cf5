"""Each rule that drops an endpoint, with what it says; each reason that puts one behind the others."""

from typing import Any

import pytest

from gateway.route.endpoint_state import EndpointState
from gateway.route.filters import (
    Tier,
    hard_reason,
    late_for,
    over_limit,
    refused_before,
    sized,
    tier,
    too_small,
)
from gateway.types import (
    DataFacts,
    Dialect,
    Endpoint,
    Fault,
    Limit,
    Limits,
    Pick,
    Policy,
    Price,
    Priors,
    Request,
    Require,
)
from tests.route.world import NOW, endpoint, fresh, request

ANY = Policy("any")


def reason(one: Endpoint, policy: Policy = ANY, asked: Request | None = None) -> str | None:
    found = hard_reason(EndpointState(one), asked or request(), policy)
    return f"{found.rule}: {found.detail}" if found else None


def requiring(**rules: Any) -> Policy:
    return Policy("p", require=Require(**rules))


def limited(measure: Any, operator: Any, value: float) -> Policy:
    return requiring(limits=(Limit(measure, operator, value),))


@pytest.mark.parametrize(
    ("one", "policy", "expected"),
    [
        (endpoint("a/fp8"), requiring(only=("b",)), "require.only: only b"),
        (endpoint("a/fp8"), requiring(ignore=("a",)), "require.ignore: named in the policy"),
        (endpoint("a/fp8"), requiring(ignore=("a/fp8",)), "require.ignore: named in the policy"),
        (endpoint(), requiring(quantization=("bf16", "fp16")), "require.quantization: is fp8, needs bf16 or fp16"),
        (endpoint(), requiring(region=("eu",)), "require.region: is unknown, needs eu"),
        (endpoint(), requiring(zdr=True), "require.zdr: zero data retention is unknown"),
        (endpoint(), requiring(no_training=True), "require.no_training: training on prompts is unknown"),
        (endpoint(), limited("price.input", "<=", 0.2), "price.input: is 0.25, needs <= 0.2"),
        (endpoint(), limited("context", ">=", 200_000), "context: is 163,840, needs >= 200,000"),
        (endpoint(max_output=8_000), limited("max_output", ">=", 9_000), "max_output: is 8,000, needs >= 9,000"),
        (endpoint(), limited("tools_ok", ">=", 0.95), "tools_ok: is 0.9, needs >= 0.95"),
        (
            endpoint("a/fp8"),
            Policy("p", pick=Pick("fixed", endpoint="gone/fp8")),
            "pick.endpoint: the policy is fixed on gone/fp8",
        ),
    ],
)
def test_what_a_policy_forbids(one: Endpoint, policy: Policy, expected: str) -> None:
    assert reason(one, policy) == expected


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({"tools"}, None),
        ({"json_schema"}, None),
        ({"tools", "json_schema"}, "capability: refuses tools together with response_format"),
        ({"tools", "json_object"}, "capability: refuses tools together with response_format"),
    ],
)
def test_a_host_may_take_tools_or_a_format_but_not_both(needs: set[str], expected: str | None) -> None:
    able = ("tools", "json_object", "json_schema")
    one = endpoint(supports=able, dialect=Dialect(tools_or_format=True))
    assert reason(one, asked=request(needs=frozenset(needs))) == expected
    assert reason(endpoint(supports=able), asked=request(needs=frozenset(needs))) is None


@pytest.mark.parametrize(
    ("one", "policy"),
    [
        (endpoint("a/fp8"), requiring(only=("a",))),
        (endpoint("a/fp8"), requiring(only=("b", "a/fp8"), ignore=("b",))),
        (endpoint(), requiring(quantization=("fp8",))),
        (endpoint(data=DataFacts("no", "yes", "eu")), requiring(zdr=True, no_training=True, region=("eu", "us"))),
        (endpoint(), limited("price.input", "<=", 0.25)),
        (endpoint(price=Price(0.2, 0.4)), limited("price.cached_input", "<=", 0.2)),
        (endpoint(), limited("ttft_p95", "<=", 0.001)),
        (endpoint("a/fp8"), Policy("p", pick=Pick("fixed", endpoint="a/fp8"))),
    ],
)
def test_what_a_policy_allows(one: Endpoint, policy: Policy) -> None:
    assert reason(one, policy) is None


def test_a_fixed_endpoint_is_one_endpoint_not_all_of_a_provider() -> None:
    assert reason(endpoint("a/fp8"), Policy("p", pick=Pick("fixed", endpoint="a"))) is not None


@pytest.mark.parametrize(
    ("one", "asked", "expected"),
    [
        (
            endpoint(),
            request(needs=frozenset({"tools", "seed", "logprobs"})),
            "capability: does not support logprobs, seed",
        ),
        (endpoint(context=1_000), request(), "context: about 1,000 prompt tokens, takes 999"),
        (endpoint(context=5_000), request(max_tokens=4_500), "context: about 1,000 prompt tokens, takes 500"),
        (endpoint(max_input=900), request(), "context: about 1,000 prompt tokens, takes 900"),
        (
            endpoint(max_input=4_000, context=5_000),
            request(max_tokens=4_500),
            "context: about 1,000 prompt tokens, takes 500",
        ),
    ],
)
def test_what_a_request_needs(one: Endpoint, asked: Request, expected: str) -> None:
    assert reason(one, asked=asked) == expected


def test_a_request_that_just_fits_is_allowed() -> None:
    assert reason(endpoint(context=1_001), asked=request()) is None
    assert reason(endpoint(context=2_000, max_output=1_000), asked=request(max_tokens=1_000)) is None


@pytest.mark.parametrize(("published", "failures"), [(None, 2), (0.95, 1), (0.85, 0)])
def test_a_measured_limit_starts_from_what_is_published(published: float | None, failures: int) -> None:
    state, policy = EndpointState(endpoint(priors=Priors(uptime=published))), limited("uptime_1h", ">=", 0.9)
    for number in range(failures):
        assert hard_reason(fresh(state, NOW), request(), policy) is None, f"after {number} failures"
        state.ended(False, NOW)
    found = hard_reason(fresh(state, NOW), request(), policy)
    assert found is not None
    assert found.rule == "uptime_1h"


def test_a_limit_on_latency_is_not_about_the_endpoint_but_about_a_prompt() -> None:
    state = EndpointState(endpoint())
    for _ in range(30):
        state.answered(5.0, 100, 1.0, 1, NOW)
    fresh(state, NOW)
    assert state.figures["ttft_p50"] is not None
    for measure in ("ttft_p50", "throughput_p50"):
        operator = "<=" if measure == "ttft_p50" else ">="
        limits = (Limit(measure, operator, 0.001 if operator == "<=" else 1_000.0),)  # type: ignore[arg-type]
        assert over_limit(state, limits) is None
        assert late_for(state, limits, 0, 1.0) is not None
        assert tier_of(state, Policy("p", prefer=limits, slo=limits)) == (Tier.GOOD, "")


def test_an_answer_may_be_shorter_than_requested() -> None:
    one, asked = endpoint(max_output=4_000), request(max_tokens=5_000)
    assert too_small(one, asked) is None
    level, why = sized(one, asked)
    assert level is Tier.SHORTER_ANSWER
    assert why is not None
    assert (why.rule, why.detail) == ("max_output", "5,000 tokens asked for, gives 4,000")
    assert sized(one, request(max_tokens=4_000)) == (Tier.GOOD, None)


def test_only_the_tokens_that_an_endpoint_gives_need_room() -> None:
    asked = request(max_tokens=128_000)
    assert too_small(endpoint(context=10_000, max_output=8_000), asked) is None
    assert too_small(endpoint(context=10_000), asked) is not None


@pytest.mark.parametrize(
    ("prompt", "doubt", "allowed", "level"),
    [
        (999, 0.2, True, Tier.GOOD),
        (1_000, 0.2, True, Tier.LIKELY_REFUSAL),
        (1_198, 0.2, True, Tier.LIKELY_REFUSAL),
        (1_199, 0.2, False, Tier.LIKELY_REFUSAL),
        (1_000, 0.0, False, Tier.LIKELY_REFUSAL),
    ],
)
def test_a_prompt_near_the_limit_is_tried_last(prompt: int, doubt: float, allowed: bool, level: Tier) -> None:
    one, asked = endpoint(context=1_000), request(prompt_tokens=prompt, doubt=doubt)
    assert (too_small(one, asked) is None) is allowed
    assert sized(one, asked)[0] is level


def test_what_was_refused_lately_is_said_in_words() -> None:
    state, asked = EndpointState(endpoint()), request(body={"messages": [], "seed": 1})
    state.refusals.remember("seed", "value", asked, NOW)
    found = refused_before(state, asked, NOW, {})
    assert found is not None
    assert found.detail == "refused such a `seed` less than 10 min ago"
    assert refused_before(state, request(), NOW, {}) is None
    assert hard_reason(state, asked, Policy("p")) is None, "it is not dropped"


# --- tiers ------------------------------------------------------------------------------------------------------


def tier_of(state: EndpointState, policy: Policy = ANY, now: float = NOW) -> tuple[Tier, str]:
    level, why = tier(fresh(state, now), policy, now)
    return level, f"{why.rule}: {why.detail}" if why else ""


def test_nothing_against_it() -> None:
    assert tier_of(EndpointState(endpoint())) == (Tier.GOOD, "")


def test_a_missed_preference() -> None:
    policy = Policy("p", prefer=(Limit("price.output", "<=", 0.4),))
    assert tier_of(EndpointState(endpoint()), policy) == (
        Tier.MISSED_PREFERENCE,
        "price.output: is 0.5, needs <= 0.4",
    )


def test_an_endpoint_that_answers_nothing_is_silent_until_it_answers() -> None:
    state = EndpointState(endpoint())
    for ticket in range(5):
        state.waiting(ticket, 1_000, 0.0, NOW)
    assert tier_of(state, now=NOW + 1) == (Tier.GOOD, "")
    expected = "silent: 5 requests without a first token for up to 60 s"
    assert tier_of(state, now=NOW + 60) == (Tier.OUTLIER, expected)
    state.silence.began(0)
    assert tier_of(state, now=NOW + 60) == (Tier.GOOD, ""), "it answers"


def test_a_rate_limit_holds_until_its_time_is_over() -> None:
    state = EndpointState(endpoint())
    state.refused(NOW, 5.0, NOW)
    assert tier_of(state) == (Tier.BUSY, "rate limit: a 429 asked to wait; for another 5 s")
    assert tier_of(state, now=NOW + 5) == (Tier.GOOD, "")


def test_a_reached_concurrency_limit() -> None:
    state = EndpointState(endpoint(limits=Limits(concurrency=2)))
    state.in_flight = 1
    assert tier_of(state) == (Tier.GOOD, "")
    state.in_flight = 2
    assert tier_of(state) == (Tier.BUSY, "limits.concurrency: 2 of 2 in use")


def test_a_limit_that_workers_share_is_not_a_slow_start() -> None:
    state = EndpointState(endpoint(limits=Limits(concurrency=4)), workers=2)
    state.in_flight = 2
    assert tier_of(state) == (Tier.BUSY, "limits.concurrency: 2 of 2 in use, this worker's part of 4")
    state.shares(0, 1)
    state.in_flight = 3
    assert tier_of(state) == (Tier.BUSY, "limits.concurrency: 3 of 3 in use, this worker's part of 4")
    state.starts_slowly()
    assert tier_of(state) == (Tier.BUSY, "slow start: 3 of 2 at once, until it has proved itself")


def test_an_open_breaker_and_then_its_probe() -> None:
    state = EndpointState(endpoint())
    state.breaker.trip(NOW, 0.0, "server")
    assert tier_of(state) == (Tier.BREAKER_OPEN, "breaker: open after server errors, next probe in 5 s")
    assert tier_of(state, now=NOW + 5) == (Tier.GOOD, "")
    state.breaker.sent(NOW + 5)
    expected = "breaker: half-open after server errors, its probe is under way"
    assert tier_of(state, now=NOW + 5) == (Tier.BREAKER_OPEN, expected)


def test_every_fault_that_opens_a_breaker_has_words() -> None:
    assert all(fault.words for fault in Fault)
    state = EndpointState(endpoint())
    state.breaker.trip(NOW, 0.0, "account 402")
    assert tier_of(state)[1].startswith("breaker: open after a refused account 402, ")
