"""What was refused comes last for ten minutes, for the tenant that sent it, and for nothing else that it sends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.route.filters import Tier
from gateway.route.refusals import MEMORY, MOST, MOST_TENANTS, Refusals
from gateway.types import Request
from tests.route.world import NOW, attempt, fail, plan, priced, request

F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
REF = {"type": "function", "function": {"name": "f", "parameters": {"$ref": "#/x"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
ODD_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
FORCED = {"type": "function", "function": {"name": "f"}}


def with_fields(tenant: str = "a", thinking: bool = False, **body: Any) -> Request:
    fields = {"messages": [], "model": "m", "stream": True, **body}
    most = body.get("max_tokens")
    return request(tenant=tenant, thinking=thinking, body=fields, max_tokens=most if isinstance(most, int) else None)


def against(refusals: Refusals, asked: Request, now: float = 1.0) -> str | None:
    return refusals.against(asked, now, {})


def refused(parameter: str, about: Any, asked: Request) -> Refusals:
    refusals = Refusals()
    refusals.remember(parameter, about, asked, 0.0)
    return refusals


@pytest.mark.parametrize(
    ("parameter", "value", "same", "other"),
    [
        ("temperature", 5, 5, 0.7),
        ("seed", 2**40, 2**40, 7),
        ("tools", [REF], [REF], [F]),
        ("stop", ["a", "b"], ["a", "b"], ["a"]),
        ("response_format", ODD_SCHEMA, ODD_SCHEMA, SCHEMA),
        ("tool_choice", "required", "required", "auto"),
        ("tool_choice", "required", "required", "none"),
        ("tool_choice", FORCED, {"type": "function", "function": {"name": "g"}}, "required"),
    ],
)
def test_a_value_is_refused_to_requests_that_have_it(parameter: str, value: Any, same: Any, other: Any) -> None:
    refusals = refused(parameter, "value", with_fields(**{parameter: value}))
    assert against(refusals, with_fields(**{parameter: same, "logprobs": True})) == parameter
    for harmless in ({parameter: other}, {parameter: None}, {}):
        assert against(refusals, with_fields(**harmless)) is None


@pytest.mark.parametrize(
    ("parameter", "value", "more", "less"),
    [
        ("tools", [F] * 130, [REF] * 131, [F] * 129),
        ("stop", ["a"] * 20, ["b"] * 20, ["b"] * 4),
        ("temperature", 5, 5.5, 2),
        ("n", 2, 3, 1),
        ("max_tokens", 70_000, 80_000, 8_000),
        ("user", "u" * 190, "v" * 200, "u" * 60),
    ],
)
def test_a_size_is_refused_from_that_size_on(parameter: str, value: Any, more: Any, less: Any) -> None:
    refusals = refused(parameter, "size", with_fields(**{parameter: value}))
    assert against(refusals, with_fields(**{parameter: value})) == parameter
    assert against(refusals, with_fields(**{parameter: more})) == parameter
    for harmless in ({parameter: less}, {}):
        assert against(refusals, with_fields(**harmless)) is None


def test_what_has_no_size_is_refused_by_its_value() -> None:
    refusals = refused("logit_bias", "size", with_fields(logit_bias={"1": 2}))
    assert against(refusals, with_fields(logit_bias={"1": 2})) == "logit_bias"
    assert against(refusals, with_fields(logit_bias={"1": 1})) is None


def test_a_host_without_tools_is_one_for_whatever_tools_the_model_may_choose() -> None:
    refusals = refused("tools", "parameter", with_fields(tools=[F]))
    assert against(refusals, with_fields(tools=[REF], tool_choice="auto")) == "tools"
    assert against(refusals, with_fields(tools=[F], tool_choice="none")) is None
    assert against(refusals, with_fields(tools=[F], tool_choice=FORCED)) is None


def test_a_host_without_one_format_may_have_another() -> None:
    refusals = refused("response_format", "parameter", with_fields(response_format=SCHEMA))
    assert against(refusals, with_fields(response_format=ODD_SCHEMA)) == "response_format"
    assert against(refusals, with_fields(response_format={"type": "json_object"})) is None
    assert against(refusals, with_fields(response_format=SCHEMA, tools=[F])) is None


def test_a_field_that_a_host_does_not_know_is_refused_whatever_it_says() -> None:
    refusals = refused("seed", "parameter", with_fields(seed=1))
    assert against(refusals, with_fields(seed=2)) == "seed"
    assert against(refusals, with_fields(seed=None)) is None


def test_another_tenant_is_not_concerned() -> None:
    refusals = refused("seed", "parameter", with_fields("a", seed=1))
    assert against(refusals, with_fields("b", seed=1)) is None


def test_thinking_and_not_thinking_are_two_matters() -> None:
    refusals = refused("tool_choice", "value", with_fields(thinking=True, tool_choice="required"))
    assert against(refusals, with_fields(thinking=True, tool_choice="required")) == "tool_choice"
    assert against(refusals, with_fields(tool_choice="required")) is None


def test_it_is_forgotten_after_ten_minutes() -> None:
    refusals = refused("seed", "value", with_fields(seed=1))
    assert against(refusals, with_fields(seed=1), MEMORY - 1) == "seed"
    assert against(refusals, with_fields(seed=1), MEMORY) is None
    assert refusals.until == MEMORY


def test_too_long_a_context_is_refused_from_that_size_on() -> None:
    refusals = refused("context", "size", request(prompt_tokens=90_000, max_tokens=10_000))
    assert against(refusals, request(prompt_tokens=99_999)) is None
    assert against(refusals, request(prompt_tokens=100_000)) == "context"
    assert against(refusals, request(prompt_tokens=10, max_tokens=100_000)) == "context"


@pytest.mark.parametrize("parameter", ["messages", "model", "stream", "role", "content_filter"])
@pytest.mark.parametrize("about", ["value", "parameter", "request"])
def test_what_every_request_carries_or_none_is_not_held_against_the_next(parameter: str, about: str) -> None:
    assert against(refused(parameter, about, with_fields()), with_fields()) is None


def test_what_was_about_one_prompt_is_not_remembered() -> None:
    refusals = refused("response_format", "request", with_fields(response_format={"type": "json_object"}))
    assert against(refusals, with_fields(response_format={"type": "json_object"})) is None
    assert refusals.until == 0.0


def test_only_the_latest_are_remembered_of_a_few_tenants() -> None:
    refusals = Refusals()
    names = [f"p{number}" for number in range(MOST + 1)]
    for name in names:
        refusals.remember(name, "value", with_fields(**{name: 1}), 0.0)
    assert [name for name in names if against(refusals, with_fields(**{name: 1}))] == names[1:]
    for number in range(MOST_TENANTS):
        refusals.remember("seed", "value", with_fields(f"t{number}", seed=1), 0.0)
    assert against(refusals, with_fields(**{names[-1]: 1})) is None
    assert against(refusals, with_fields("t0", seed=1)) == "seed"


def test_a_refusal_puts_an_endpoint_last_and_never_drops_it() -> None:
    fleet = priced(a=1, b=2)
    odd, usual = with_fields(seed=2**40), with_fields(seed=7)
    fail(fleet, attempt(fleet, "a", odd), "rejected", NOW, param="seed")
    made = plan(fleet, odd)
    assert [choice.endpoint.id for choice in made.ranked] == ["b", "a"]
    assert made.ranked[1].tier is Tier.LIKELY_REFUSAL
    assert [choice.endpoint.id for choice in plan(fleet, usual).ranked] == ["a", "b"]
    fail(fleet, attempt(fleet, "b", odd), "rejected", NOW, param="seed")
    made = plan(fleet, odd)
    assert [choice.endpoint.id for choice in made.ranked] == ["a", "b"]
    assert (made.relaxed, made.dropped) == ("likely refusal", ())


def test_where_all_others_will_probably_refuse_a_broken_one_is_tried_as_well() -> None:
    fleet, odd = priced(a=1, b=2), with_fields(seed=1)
    fail(fleet, attempt(fleet, "a", odd), "rejected", NOW, param="seed")
    fleet.distrust("b", "server", NOW, 0.0)
    assert [choice.endpoint.id for choice in plan(fleet, odd).ranked] == ["a", "b"]
    assert [choice.endpoint.id for choice in plan(fleet, with_fields()).ranked] == ["a"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PARAMETERS = ["tools", "tool_choice", "response_format", "temperature", "stop", "user", "context", "max_tokens", "x"]


@given(st.sampled_from(PARAMETERS), st.sampled_from(["value", "size", "parameter", "request"]), VALUES, VALUES)
def test_whatever_was_refused_no_endpoint_is_lost(parameter: str, about: Any, value: Any, other: Any) -> None:
    fleet = priced(a=1, b=2)
    for state in fleet.states.values():
        state.refusals.remember(parameter, about, with_fields(**{parameter: value}), NOW)
    for asked in (with_fields(**{parameter: other}), with_fields("b", **{parameter: value}), with_fields()):
        assert {choice.endpoint.id for choice in plan(fleet, asked).ranked} == {"a", "b"}
    assert plan(fleet, with_fields("b", **{parameter: value})).ranked[0].tier is Tier.GOOD
