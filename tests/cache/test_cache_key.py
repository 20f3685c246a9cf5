from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from gateway.cache.cache_key import WITHOUT_EFFECT, cache_key
from gateway.types import CacheRule, Limit, Pick, Policy, Request, Require

BODY = {"model": "deepseek-chat:floor", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.2}
REQUEST = Request(id="gen-1", body=BODY, model="deepseek/deepseek-v3.2", policy="balanced")
BALANCED = Policy("balanced")
PRIVATE = Policy("private", require=Require(zdr=True))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def key_of(request: Request = REQUEST, policy: Policy = BALANCED, **body: Any) -> bytes:
    return cache_key(changed(request, body=BODY | body), policy)


def test_a_key_is_a_prefix_and_a_digest() -> None:
    assert key_of().startswith(b"gw:cache:")
    assert len(key_of()) == len(b"gw:cache:") + 64


@pytest.mark.parametrize("field", sorted(WITHOUT_EFFECT))
def test_fields_without_effect_do_not_count(field: str) -> None:
    assert key_of(**{field: "anything"}) == key_of()


def test_the_exchange_itself_does_not_count() -> None:
    other = changed(REQUEST, id="gen-2", stream=True, include_usage=True, app="shop", cache="on", prompt_tokens=7)
    assert key_of(other) == key_of()


def test_aliases_of_a_model_share_an_answer() -> None:
    assert key_of(model="deepseek/deepseek-v3.2") == key_of()


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": 0.3},
        {"messages": [{"role": "user", "content": "Hello!"}]},
        {"messages": [{"role": "system", "content": "Hello"}]},
        {"tools": []},
        {"seed": 1},
        {"n": 2},
        {"provider": {"only": ["novita"]}},
        {"chat_template_kwargs": {"thinking": True}},
        {"a_field_of_next_year": 1},
    ],
)
def test_every_other_field_counts(body: dict[str, Any]) -> None:
    assert key_of(**body) != key_of()


@pytest.mark.parametrize(
    "change", [{"tenant": "other"}, {"model": "deepseek/deepseek-v4"}, {"thinking": True}, {"surface": "openrouter"}]
)
def test_tenant_model_thinking_and_surface_count(change: dict[str, Any]) -> None:
    assert key_of(changed(REQUEST, **change)) != key_of()


def test_policies_that_allow_every_endpoint_share_answers() -> None:
    free = Policy("nitro", cache=CacheRule(60.0), prefer=(Limit("ttft_p95", "<=", 4.0),))
    assert key_of(policy=free) == key_of()


@pytest.mark.parametrize(
    "policy",
    [
        PRIVATE,
        replace(PRIVATE, name="other"),
        replace(PRIVATE, require=Require(zdr=True, quantization=("fp8",))),
        replace(PRIVATE, require=Require(limits=(Limit("price.output", "<=", 0.5),))),
        Policy("pinned", pick=Pick("fixed", endpoint="novita/fp8")),
        Policy("pinned", pick=Pick("fixed", endpoint="deepinfra/fp4")),
    ],
)
def test_a_policy_that_constrains_endpoints_keeps_its_answers_apart(policy: Policy) -> None:
    others = {key_of(), key_of(policy=PRIVATE), key_of(policy=Policy("pinned", pick=Pick("fixed", endpoint="x")))}
    assert (key_of(policy=policy) in others) == (policy == PRIVATE)


def test_the_request_is_not_changed() -> None:
    body = BODY | {"user": "u", "stream": True}
    cache_key(changed(REQUEST, body=body), BALANCED)
    assert body == BODY | {"user": "u", "stream": True}


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=6), st.randoms())
def test_the_order_of_fields_does_not_count(body: dict[str, Any], random: Any) -> None:
    names = list(body)
    random.shuffle(names)
    shuffled = {name: body[name] for name in names}
    assert cache_key(changed(REQUEST, body=body), BALANCED) == cache_key(changed(REQUEST, body=shuffled), BALANCED)
