"""OpenRouter's `provider` object: what each field does to the policy in force, and what is refused."""

import re
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import BadRequest, NoEndpoint
from gateway.intake.provider import REMEMBERED, Preferences, sent_parameters
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet
from gateway.types import DataFacts, Endpoint, Hedge, Limit, Model, Pick, Policy, Price, Priors, Require
from tests.route.world import attempt, endpoint, fail, plan, request

POLICIES = Policies().current
HERE = (
    replace(
        endpoint("novita/fp8", price=Price(0.3, 0.4), priors=Priors(1.0, None, 20.0, tools_ok=0.95)), name="NovitaAI"
    ),
    endpoint("deepinfra/fp4", quantization="fp4", price=Price(0.2, 0.5), priors=Priors(0.5, None, 30.0, tools_ok=0.5)),
    endpoint("baidu/fp8", price=Price(0.1, 0.2), priors=Priors(3.0, None, 90.0, tools_ok=0.9)),
    endpoint(
        "baidu/nvfp4", quantization="nvfp4", data=DataFacts("no", "yes"), priors=Priors(4.0, None, 10.0, tools_ok=0.8)
    ),
)
IN_USE = {one.id for one in HERE}
PLAIN = Policy("plain", prefer=(Limit("uptime_5m", ">=", 0.8),), slo=(Limit("ttft_p95", "<=", 2.0),))


def derived(provider: Any, policy: Policy = PLAIN, endpoints: tuple[Endpoint, ...] = HERE) -> Policy:
    return Preferences().applied(policy, provider, model(endpoints), {one.id for one in endpoints}, POLICIES)


def model(endpoints: tuple[Endpoint, ...], name: str = "author/model") -> Model:
    return Model(name, "Model", 1000, endpoints)


def order_of_trying(provider: Any, policy: Policy = PLAIN, **asked: Any) -> list[str]:
    made = plan(Fleet(HERE), request(**asked), derived(provider, policy))
    return [choice.endpoint.id for choice in made.ranked]


# --- order and fallbacks ----------------------------------------------------------------------------------------


def test_order_comes_first_and_the_others_follow() -> None:
    assert order_of_trying({"order": ["novita", "deepinfra"]}) == [
        "novita/fp8",
        "deepinfra/fp4",
        "baidu/fp8",
        "baidu/nvfp4",
    ]


def test_an_order_is_not_left_to_explore() -> None:
    exploring = replace(PLAIN, pick=Pick("sample", explore=0.5))
    assert derived({"order": ["novita"]}, exploring).pick.explore == 0


def test_a_provider_in_the_order_stands_for_all_its_endpoints() -> None:
    assert set(order_of_trying({"order": ["baidu"]})[:2]) == {"baidu/fp8", "baidu/nvfp4"}
    assert order_of_trying({"order": ["baidu/nvfp4"]})[0] == "baidu/nvfp4"


def test_order_without_fallbacks_is_all_there_is() -> None:
    assert order_of_trying({"order": ["novita", "deepinfra"], "allow_fallbacks": False}) == [
        "novita/fp8",
        "deepinfra/fp4",
    ]


def test_without_fallbacks_and_order_one_endpoint_is_tried() -> None:
    policy = derived({"allow_fallbacks": False}, replace(PLAIN, hedge=POLICIES["balanced"].hedge))
    assert (policy.attempts.max, policy.hedge) == (1, Hedge())
    assert policy.pick == PLAIN.pick


def test_an_endpoint_of_the_order_that_cannot_serve_is_passed_over() -> None:
    fleet = Fleet(HERE)
    for _ in range(5):
        fail(fleet, attempt(fleet, "novita/fp8"), "server", 1_000.0)
    made = plan(fleet, request(), derived({"order": ["novita", "deepinfra"]}))
    assert made.ranked[0].endpoint.id == "deepinfra/fp4"


def test_what_the_policy_prefers_yields_to_an_order() -> None:
    policy = derived({"order": ["novita"], "preferred_max_latency": 3})
    assert (policy.prefer, policy.slo) == ((Limit("ttft_p50", "<=", 3.0),), ())


def test_a_fixed_policy_stays_fixed() -> None:
    fixed = Policy("fixed", pick=Pick("fixed", endpoint="baidu/fp8"))
    for provider in ({"order": ["novita"]}, {"sort": "latency"}, {"sort": "exacto"}, {"sort": "price"}):
        assert order_of_trying(provider, fixed) == ["baidu/fp8"]


# --- hard limits ------------------------------------------------------------------------------------------------


def test_only_and_ignore() -> None:
    assert set(order_of_trying({"only": ["novita", "baidu/fp8"]})) == {"novita/fp8", "baidu/fp8"}
    assert set(order_of_trying({"ignore": ["baidu"]})) == {"novita/fp8", "deepinfra/fp4"}


def test_they_only_narrow_what_the_policy_requires() -> None:
    policy = Policy("p", require=Require(only=("baidu", "novita"), ignore=("novita",), quantization=("fp8", "nvfp4")))
    assert derived({"only": ["baidu/fp8", "deepinfra"]}, policy).require.only == ("baidu/fp8",)
    assert derived({"ignore": ["deepinfra"]}, policy).require.ignore == ("novita", "deepinfra")
    assert derived({"quantizations": ["fp4"]}, policy).require.quantization == ("nvfp4",)
    assert (
        derived({"zdr": False, "data_collection": "allow"}, POLICIES["private"]).require == POLICIES["private"].require
    )


@pytest.mark.parametrize(
    ("provider", "policy", "param"),
    [
        ({"only": ["novita"]}, Policy("p", require=Require(only=("baidu",))), "provider.only"),
        ({"only": ["novita"], "order": ["baidu"], "allow_fallbacks": False}, PLAIN, "provider.only"),
        ({"quantizations": ["bf16"]}, Policy("p", require=Require(quantization=("fp8",))), "provider.quantizations"),
    ],
)
def test_preferences_that_no_endpoint_meets_are_reported(provider: Any, policy: Policy, param: str) -> None:
    with pytest.raises(NoEndpoint) as caught:
        derived(provider, policy)
    assert (caught.value.status, caught.value.param) == (404, param)


def test_a_precision_includes_its_variants() -> None:
    assert set(order_of_trying({"quantizations": ["fp4"]})) == {"deepinfra/fp4", "baidu/nvfp4"}


def test_data() -> None:
    assert order_of_trying({"data_collection": "deny"}) == ["baidu/nvfp4"]
    assert order_of_trying({"zdr": True}) == ["baidu/nvfp4"]


@pytest.mark.parametrize("price", [0.4, "0.4"])
def test_a_highest_price(price: Any) -> None:
    limits = derived({"max_price": {"completion": price, "prompt": 1, "request": "0", "image": None}}).require.limits
    assert limits == (Limit("price.output", "<=", 0.4), Limit("price.input", "<=", 1.0))
    assert set(order_of_trying({"max_price": {"completion": price}})) == {"novita/fp8", "baidu/fp8"}


def test_a_highest_price_of_null_is_no_bound_and_hides_no_other() -> None:
    limits = derived({"max_price": {"image": None, "prompt": None, "completion": 0.4}}).require.limits
    assert limits == (Limit("price.output", "<=", 0.4),)


def test_all_parameters_that_were_sent() -> None:
    body = {"messages": [], "seed": 1, "tool_choice": "auto", "top_logprobs": 3, "temperature": 0.5, "logit_bias": None}
    assert sent_parameters(body) == {"seed", "tool_choice", "logprobs"}


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({"tools": [{"function": {"name": "f", "strict": True}}]}, {"tools", "strict_tools"}),
        ({"tools": [{"function": {"name": "f", "strict": False}}, {"function": None}, 3]}, {"tools"}),
        (
            {"tools": [{"function": {"name": "f"}}], "response_format": {"type": "json_object"}},
            {"tools", "tools_with_response_format"},
        ),
        ({"response_format": {"type": "json_object"}}, set()),
    ],
)
def test_parameters_that_are_more_than_their_names(body: dict[str, Any], needs: set[str]) -> None:
    assert sent_parameters({"messages": [], **body}) == needs


# --- sorting and preferences ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("price", "baidu/fp8"),
        ("latency", "deepinfra/fp4"),
        ("throughput", "baidu/fp8"),
        ({"by": "latency", "partition": "none"}, "deepinfra/fp4"),
    ],
)
def test_sort_tries_strictly_in_that_order(sort: Any, first: str) -> None:
    assert order_of_trying({"sort": sort})[0] == first


def test_sort_exacto_goes_by_tool_calls() -> None:
    assert order_of_trying({"sort": "exacto"}, needs=frozenset({"tools"}))[0] == "novita/fp8"


def test_an_order_counts_more_than_a_sort() -> None:
    assert order_of_trying({"sort": "latency", "order": ["novita"]})[0] == "novita/fp8"


def test_preferred_speed_and_latency_are_soft() -> None:
    policy = derived({"preferred_min_throughput": {"p50": 40, "p90": 20}, "preferred_max_latency": {"p99": 5.5}})
    assert policy.prefer == (
        *PLAIN.prefer,
        Limit("throughput_p50", ">=", 40.0),
        Limit("throughput_p90", ">=", 20.0),
        Limit("ttft_p99", "<=", 5.5),
    )


# --- what is refused, and what is not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "param", "message"),
    [
        ("novita", "provider", "`provider` must be an object"),
        ({"ordr": ["novita"]}, "provider.ordr", "is unknown; did you mean `order`?"),
        ({"order": "novita"}, "provider.order", "must be a list"),
        ({"only": [1]}, "provider.only", "must be a list"),
        ({"ignore": [1]}, "provider.ignore", "must be a list"),
        ({"allow_fallbacks": "no"}, "provider.allow_fallbacks", "must be true or false"),
        ({"require_parameters": 1}, "provider.require_parameters", "must be true or false"),
        ({"zdr": "yes"}, "provider.zdr", "must be true or false"),
        ({"enforce_distillable_text": 1}, "provider.enforce_distillable_text", "must be true or false"),
        ({"options": []}, "provider.options", "must be an object"),
        ({"data_collection": "denied"}, "provider.data_collection", "must be `allow` or `deny`"),
        ({"quantizations": ["fp9"]}, "provider.quantizations", "has no precision `fp9`"),
        ({"sort": "fast"}, "provider.sort", "must be one of price, throughput, latency, exacto"),
        ({"sort": {"by": "price", "partition": "x"}}, "provider.sort.partition", "must be `model` or `none`"),
        ({"sort": {"bye": "price"}}, "provider.sort.bye", "is unknown"),
        ({"sort": ["price"]}, "provider.sort", "must be one of"),
        ({"max_price": 3}, "provider.max_price", "must be an object"),
        ({"max_price": {"prompts": 3}}, "provider.max_price.prompts", "did you mean `prompt`?"),
        ({"max_price": {"prompt": "cheap"}}, "provider.max_price.prompt", "must be a number, 0 or more"),
        ({"max_price": {"prompt": -1}}, "provider.max_price.prompt", "must be a number"),
        ({"max_price": {"prompt": True}}, "provider.max_price.prompt", "must be a number"),
        ({"preferred_max_latency": "nan"}, "provider.preferred_max_latency", "must be a number"),
        ({"preferred_max_latency": {"p95": 2}}, "provider.preferred_max_latency.p95", "write p50, p75, p90, p99"),
        ({"preferred_min_throughput": {"p50": []}}, "provider.preferred_min_throughput.p50", "must be a number"),
    ],
)
def test_what_is_refused(provider: Any, param: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        derived(provider)
    assert caught.value.param == param
    assert message in caught.value.message


def test_nothing_wished_changes_nothing() -> None:
    assert derived({}) == PLAIN
    assert derived(dict.fromkeys(["order", "only", "sort", "max_price", "zdr", "allow_fallbacks"])) == PLAIN


def test_names_are_known_in_any_case_and_by_the_providers_display_name() -> None:
    assert derived({"order": ["NovitaAI", "Baidu/FP8"]}).pick.order == ("novita", "baidu/fp8")


@pytest.mark.parametrize("name", ["NovitaAI", "novita", "NOVITA/FP8", "Novita AI", "novita-ai", "Novita_AI"])
def test_a_name_is_known_however_it_is_spelt(name: str) -> None:
    assert derived({"only": [name]}).require.only == ("novita/fp8" if "/" in name else "novita",)


def test_an_exact_name_wins_over_one_that_is_spelt_alike() -> None:
    two = (endpoint("rack-1"), endpoint("rack1"))
    assert derived({"order": ["rack1", "rack-1"]}, endpoints=two).pick.order == ("rack1", "rack-1")


def test_providers_that_are_not_here_are_left_out() -> None:
    elsewhere = ["Google", "deepinfra/turbo", "zzz", ""]
    assert order_of_trying({"order": [*elsewhere, "baidu/nvfp4"]})[0] == "baidu/nvfp4"
    assert derived({"ignore": [*elsewhere, "baidu"]}).require.ignore == ("baidu",)
    assert derived({"only": [*elsewhere, "baidu"]}).require.only == ("baidu",)
    assert derived({"order": elsewhere, "ignore": elsewhere}) == PLAIN


@pytest.mark.parametrize("field", ["only", "order"])
def test_a_list_of_unknown_providers_leaves_no_endpoint(field: str) -> None:
    listed = "baidu, baidu/fp8, baidu/nvfp4, deepinfra, deepinfra/fp4, novita, novita/fp8"
    for names, hint in ((["zzz", "Google"], f"write one of {listed}"), (["novta"], "did you mean `novita`?")):
        with pytest.raises(NoEndpoint) as caught:
            derived({field: names, "allow_fallbacks": False})
        assert (caught.value.status, caught.value.param) == (404, f"provider.{field}")
        assert caught.value.message == f"none of [{', '.join(names)}] is known; {hint}"


KEYLESS = (*HERE, replace(endpoint("chutes/fp8"), api_key_env="CHUTES_API_KEY"))


def wanting(provider: Any) -> Policy:
    """Where an endpoint of the catalogue has no key."""
    return Preferences().applied(PLAIN, provider, model(KEYLESS), IN_USE, POLICIES)


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ({"only": ["chutes"]}, "only"),
        ({"only": ["Chutes/fp8"]}, "only"),
        ({"order": ["chutes"], "allow_fallbacks": False}, "order"),
    ],
)
def test_a_name_that_is_not_in_use_is_reported_with_what_would_bring_it_into_use(provider: Any, field: str) -> None:
    with pytest.raises(NoEndpoint) as caught:
        wanting(provider)
    assert (caught.value.status, caught.value.param) == (404, f"provider.{field}")
    assert re.fullmatch("chutes(/fp8)? is not in use: set CHUTES_API_KEY", caught.value.message)


def test_a_name_that_is_not_in_use_does_no_harm_beside_one_that_is() -> None:
    assert wanting({"order": ["chutes"]}).pick.order == ("chutes",)
    assert wanting({"only": ["chutes", "novita"]}).require.only == ("chutes", "novita")
    assert wanting({"ignore": ["chutes"]}).require.ignore == ("chutes",)


# --- remembered -------------------------------------------------------------------------------------------------


def test_equal_wishes_share_a_policy() -> None:
    preferences = Preferences()

    def apply(provider: Any, policy: Policy = PLAIN) -> Policy:
        return preferences.applied(policy, provider, model(HERE), IN_USE, POLICIES)

    first = apply({"zdr": True, "only": ["novita"]})
    assert apply({"only": ["novita"], "zdr": True}) is first
    assert apply({"only": ["novita"]}) is not first
    assert apply({"zdr": True, "only": ["novita"]}, Policy("other")) is not first


def test_another_models_endpoints_are_not_what_was_remembered() -> None:
    preferences = Preferences()
    preferences.applied(PLAIN, {"only": ["novita"]}, model(HERE), IN_USE, POLICIES)
    with pytest.raises(NoEndpoint):
        preferences.applied(PLAIN, {"only": ["novita"]}, model(HERE[1:], "author/other"), IN_USE, POLICIES)


def test_only_so_many_are_remembered() -> None:
    preferences = Preferences()
    first = preferences.applied(PLAIN, {"max_price": {"prompt": 0}}, model(HERE), IN_USE, POLICIES)
    for price in range(1, REMEMBERED + 1):
        preferences.applied(PLAIN, {"max_price": {"prompt": price}}, model(HERE), IN_USE, POLICIES)
    assert preferences.applied(PLAIN, {"max_price": {"prompt": 0}}, model(HERE), IN_USE, POLICIES) is not first
    assert repr(preferences) == f"<Preferences {REMEMBERED}/{REMEMBERED}>"


def test_what_was_used_last_is_remembered_longest() -> None:
    preferences = Preferences()

    def apply(price: int) -> Policy:
        return preferences.applied(PLAIN, {"max_price": {"prompt": price}}, model(HERE), IN_USE, POLICIES)

    first, second = apply(0), apply(1)
    for price in range(2, REMEMBERED):
        apply(price)
    assert apply(0) is first
    apply(REMEMBERED)
    assert apply(0) is first
    assert apply(1) is not second
