"""The shipped catalogue: complete, dated, and free of guesses that would cost somebody money."""

import re

import pytest

from gateway.config import load, usable, wanted_variables
from gateway.types import Endpoint, Model

RETIRED = {"deepseek", "google-vertex", "nebius", "baseten"}
LISTED_ONLY = {"streamlake/fp8", "azure", "amazon-bedrock", "phala", "parasail"}
MODEL: Model = load(None, {}).models[0]


@pytest.fixture(params=MODEL.endpoints, ids=lambda endpoint: endpoint.id)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return request.param


def test_the_model_answers_to_the_names_people_use() -> None:
    assert MODEL.id == "deepseek/deepseek-v3.2"
    assert MODEL.created == 1764594642
    assert {"deepseek-v3.2", "deepseek-chat", "deepseek-reasoner"} < set(MODEL.aliases)


def test_with_all_keys_every_live_complete_endpoint_is_used() -> None:
    secrets = dict.fromkeys(wanted_variables((MODEL,)), "k")
    assert {one.id for one in usable(MODEL, secrets)} == {one.id for one in MODEL.endpoints} - RETIRED - LISTED_ONLY


def test_retired_hosts_are_marked_and_dated() -> None:
    retired = {one.id: one.retires for one in MODEL.endpoints if one.status == "retired"}
    assert set(retired) == RETIRED
    assert all(retired.values())


def test_a_price_is_plausible_and_dated(endpoint: Endpoint) -> None:
    if endpoint.price is None:
        assert endpoint.note
        return
    assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", endpoint.price.as_of)
    assert 0.05 < endpoint.price.input <= endpoint.price.output < 10
    assert (endpoint.price.cached_input or 0.01) < endpoint.price.input


def test_priors_are_dated(endpoint: Endpoint) -> None:
    priors = endpoint.priors
    if (priors.ttft_p50, priors.throughput_p50, priors.tools_ok, priors.uptime) != (None, None, None, None):
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", priors.as_of)


def test_shares_are_shares(endpoint: Endpoint) -> None:
    assert all(0 < share <= 1 for share in (endpoint.priors.tools_ok, endpoint.priors.uptime) if share is not None)


def test_windows_fit_the_model(endpoint: Endpoint) -> None:
    assert endpoint.context <= MODEL.context
    assert (endpoint.max_output or 0) <= endpoint.context
    assert (endpoint.max_input or 0) <= endpoint.context


def test_the_id_starts_with_the_provider_and_names_the_precision(endpoint: Endpoint) -> None:
    provider, _, precision = endpoint.id.partition("/")
    assert provider == endpoint.provider
    assert not precision or precision == endpoint.quantization


def test_no_live_host_needs_a_package_that_is_not_installed(endpoint: Endpoint) -> None:
    assert endpoint.adapter == "none" or endpoint.status == "retired"


def test_an_announced_end_is_a_day(endpoint: Endpoint) -> None:
    assert endpoint.retires is None or re.fullmatch(r"20\d\d-\d\d-\d\d", endpoint.retires)


def test_a_long_prompt_costs_more_at_volcengine() -> None:
    price = next(one for one in MODEL.endpoints if one.id == "volcengine").price
    assert price
    assert price.rates(32_768, 0) == (0.28, 0.056, 0.42)
    assert price.rates(32_769, 0) == (0.56, 0.056, 0.84)
