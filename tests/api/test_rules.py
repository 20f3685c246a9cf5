"""Which policy a request runs under: what its client names, then match rules, then its key's own, then the default."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.config import load
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet
from gateway.types import Policy
from gateway.types.sink import Inbound
from tests.support.gateway import write_config

TOOL = {"type": "function", "function": {"name": "f"}}
RULES = [
    {"when": {"app": "Night Report"}, "policy": "floor"},
    {"when": {"key": "web", "stream": True}, "policy": "interactive"},
    {"when": {"tools": True}, "policy": "exacto"},
    {"when": {"prompt_tokens": "> 2000"}, "policy": "long-context"},
]
KEYS = [{"tenant": "web", "key": "w"}, {"tenant": "batch", "key": "b", "policy": "budget"}]


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    settings = load(write_config(tmp_path, {"a/fp8": "http://127.0.0.1:1"}, rules=RULES, keys=KEYS), {})
    names, policies = Names(settings.models), Policies(settings.policies)
    fleets = {model.id: Fleet(model.endpoints) for model in settings.models}
    return Intake(Serving(Keys(settings.keys), policies, fleets, settings.default_policy, settings.rules), names)


def chosen(intake: Intake, key: str = "w", model: str = "deepseek-v3.2", text: str = "Hi", **about: Any) -> Policy:
    headers = {b"authorization": f"Bearer {key}".encode(), **about.pop("headers", {})}
    body = {"model": model, "messages": [{"role": "user", "content": text}], **about}
    return intake.read(Inbound(headers, orjson.dumps(body), 0.0))[1]


@pytest.mark.parametrize(
    ("about", "policy"),
    [
        ({}, "balanced"),
        ({"headers": {b"x-title": b"night report"}}, "floor"),
        ({"headers": {b"http-referer": b"Night Report"}, "tools": [TOOL]}, "floor"),
        ({"stream": True}, "interactive"),
        ({"stream": True, "key": "b"}, "budget"),
        ({"tools": [TOOL]}, "exacto"),
        ({"tools": [], "text": "x" * 10_000}, "long-context"),
        ({"key": "b", "tools": [TOOL]}, "exacto"),
        ({"key": "b"}, "budget"),
        ({"tools": [TOOL], "model": "deepseek-v3.2:nitro"}, "nitro"),
        ({"tools": [TOOL], "headers": {b"x-gateway-policy": b"cached"}}, "cached"),
    ],
    ids=str,
)
def test_the_first_rule_that_is_met_counts_unless_the_client_names_a_policy(
    intake: Intake, about: dict[str, Any], policy: str
) -> None:
    assert chosen(intake, **about).name == policy


def test_a_provider_object_narrows_the_policy_that_was_chosen(intake: Intake) -> None:
    wishes = {"only": ["a/fp8"], "max_price": {"prompt": 1}}
    narrowed = chosen(intake, provider=wishes, tools=[TOOL])
    assert (narrowed.name, narrowed.require.only) == ("exacto", ("a/fp8",))
    assert chosen(intake, provider=wishes, tools=[TOOL]) is narrowed


def test_all_parameters_count_when_they_are_required(intake: Intake) -> None:
    body: dict[str, Any] = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "seed": 1}
    for asked, needs in [({}, set()), ({"provider": {"require_parameters": True}}, {"seed"})]:
        read, _ = intake.read(Inbound({b"x-api-key": b"w"}, orjson.dumps(body | asked), 0.0))
        assert read.needs == needs
