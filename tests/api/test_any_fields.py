"""Whatever JSON stands in a field that the gateway reads: the request is taken, or refused in words; never a fault."""

from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.cache.cache_key import cache_key
from gateway.cache.reasoning_vault import gaps
from gateway.config import load
from gateway.errors import ClientError
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.intake.provider import sent_parameters
from gateway.policy.policies import Policies
from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_repair import mender
from gateway.route.decide import make_plan
from gateway.route.fleet import Fleet
from gateway.surface.anthropic.decode import chat_body
from gateway.surface.openai.completions import chat_request
from gateway.types import Dialect, Endpoint
from gateway.types.endpoint import EffortField, ThinkingSwitch
from gateway.types.sink import Inbound
from gateway.upstream.dialects import outgoing, relays
from tests.support.gateway import write_config

HOSTS = [
    Endpoint("a/b", "a", "http://a", "m", max_output=10, dialect=Dialect(thinking, default, None, effort))
    for thinking in get_args(ThinkingSwitch)
    for default in ("on", "off")
    for effort in get_args(EffortField)
]
FIELDS = [
    *("chat_template_kwargs", "debug", "enable_thinking", "include_reasoning", "logit_bias", "logprobs"),
    *("max_completion_tokens", "max_tokens", "messages", "metadata", "model", "models", "n", "parallel_tool_calls"),
    *("plugins", "preset", "prompt_cache_key", "provider", "reasoning", "reasoning_effort", "response_format", "route"),
    *("safety_identifier", "seed", "service_tier", "session_id", "stop", "stream", "stream_options", "temperature"),
    *("thinking", "tool_choice", "tools", "top_logprobs", "trace", "transforms", "usage", "user"),
]
INNER = [
    *(
        "content",
        "effort",
        "enabled",
        "exclude",
        "function",
        "id",
        "json_schema",
        "max_tokens",
        "name",
        "only",
        "order",
    ),
    *(
        "prefix",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "role",
        "sort",
        "text",
        "thinking",
        "tool_calls",
    ),
    *("type", "enable_thinking", "include_usage", "max_price", "parameters"),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "user", "assistant", "tool", "none", "enabled", "text", "image_url", "json_schema", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=8,
)
MODELS = st.sampled_from(["deepseek-v3.2", "deepseek-chat", "deepseek-reasoner"])


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Intake:
    folder: Path = tmp_path_factory.mktemp("any")
    found = load(write_config(folder, {"a/fp8": "http://127.0.0.1:1"}, {"supports": ["tools", "image"]}), {})
    fleets = {model.id: Fleet(model.endpoints) for model in found.models}
    serving = Serving(Keys(()), Policies(found.policies), fleets, found.default_policy)
    return Intake(serving, Names(found.models))


def follow(intake: Intake, body: dict[str, Any], translate: Any = None) -> None:
    """As far as a host: all that reads the body before it is sent, and what is made ready for the answer."""
    try:
        asked, policy = intake.read(Inbound({}, orjson.dumps(body), 0.0), translate)
    except ClientError:
        return
    fleet = Fleet(HOSTS[:1])
    make_plan(asked, policy, fleet, 0.0, 0, lambda: 0.5)
    for host in HOSTS:
        sent = orjson.loads(outgoing(asked, host))
        assert sent.get("reasoning_effort") != ""
        relays(host, asked)
    mender(asked.body)
    ToolCallCheck().verdict(asked.body.get("tools"))
    gaps(asked)
    cache_key(asked, policy)
    sent_parameters(asked.body)
    for about in ("value", "size", "parameter"):
        for field in body:
            fleet.states["a/b"].refusals.remember(field, about, asked, 0.0)  # type: ignore[arg-type]
    make_plan(asked, policy, fleet, 1.0, 0, lambda: 0.5)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(MODELS, st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=4))
def test_any_value_in_any_field(intake: Intake, model: str, fields: dict[str, Any]) -> None:
    follow(intake, {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(MODELS, st.dictionaries(st.sampled_from(INNER), VALUES, max_size=4), VALUES)
def test_any_value_in_any_message(intake: Intake, model: str, fields: dict[str, Any], reasoning: Any) -> None:
    user, made = {"role": "user", "content": "Hi"}, {"role": "assistant", **fields}
    for messages in (
        [user, made],
        [made, user],
        [user, made, {"role": "tool", "content": "1", "tool_call_id": reasoning}],
    ):
        follow(intake, {"model": model, "messages": messages, "tools": [{"type": "function"}], "reasoning": reasoning})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(MODELS, st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3), st.sampled_from([chat_body, chat_request]))
def test_any_value_on_the_other_surfaces(intake: Intake, model: str, fields: dict[str, Any], translate: Any) -> None:
    prompt = {"prompt": "Hi"} if translate is chat_request else {"messages": [{"role": "user", "content": "Hi"}]}
    follow(intake, {"model": model, "max_tokens": 9, **prompt, **fields}, translate)


@pytest.mark.parametrize("effort", [5, 0, -1, 1.5, True, False, [], ["high"], {}, {"effort": "high"}])
@pytest.mark.parametrize("model", ["deepseek-v3.2", "deepseek-chat", "deepseek-reasoner"])
def test_an_effort_of_another_kind_is_refused(intake: Intake, model: str, effort: Any) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": effort}
    with pytest.raises(ClientError) as refused:
        intake.read(Inbound({}, orjson.dumps(body), 0.0))
    assert (refused.value.status, refused.value.param) == (400, "reasoning_effort")
