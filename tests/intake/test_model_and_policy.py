"""Which model and policy a request means, by every way to say it."""

from typing import Any

import pytest

from gateway.errors import BadRequest, NotFound
from gateway.intake.model_and_policy import Names, PolicyCandidates, choose_policy
from gateway.policy.policies import Policies
from gateway.types import Model
from tests.proxy.routed import Routed
from tests.support.host import ScriptedHost, answers, completion

POLICIES = Policies().current
NAMES = Names((Model("own/first", "First", 1000, (), aliases=("first",)), Model("own/second", "Second", 1000, ())))
UNNAMED = PolicyCandidates("", "", "balanced")


def meant(name: str, wanted: PolicyCandidates = UNNAMED) -> tuple[str, str]:
    named = NAMES.model(name)
    return named.model.id, choose_policy(named, wanted, POLICIES).name


@pytest.mark.parametrize(
    ("name", "model", "policy"),
    [
        ("own/second", "own/second", "balanced"),
        ("first:floor", "own/first", "floor"),
        ("own/second@preset/floor", "own/second", "floor"),
        ("first@preset/floor:nitro", "own/first", "nitro"),
        ("first:nitro@preset/floor", "own/first", "nitro"),
        ("@preset/floor", "own/first", "floor"),
        ("@preset/floor:nitro", "own/first", "nitro"),
    ],
)
def test_a_preset_is_a_policy(name: str, model: str, policy: str) -> None:
    assert meant(name) == (model, policy)


@pytest.mark.parametrize("name", ["none@preset/floor", "@preset/none", "first@preset/none", "first@preset/none:floor"])
def test_what_is_not_there_is_a_404(name: str) -> None:
    with pytest.raises(NotFound) as refused:
        meant(name)
    assert refused.value.param == "model"


@pytest.mark.parametrize("name", ["@preset/", "first@preset/", "", None, 7])
def test_what_names_nothing_is_a_400(name: Any) -> None:
    with pytest.raises(BadRequest):
        NAMES.model(name)


def test_the_nearest_word_wins() -> None:
    assert meant("first:nitro", PolicyCandidates("floor", "exacto", "balanced"))[1] == "nitro"
    assert meant("first", PolicyCandidates("floor", "exacto", "balanced"))[1] == "floor"
    assert meant("first", PolicyCandidates("", "exacto", "balanced"))[1] == "exacto"
    with pytest.raises(NotFound) as refused:
        meant("first", PolicyCandidates("none", "exacto", "balanced"))
    assert refused.value.param == "preset"


def test_without_models_there_is_no_default() -> None:
    with pytest.raises(NotFound):
        Names(()).model("@preset/floor")


ASKED: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("/api/v1/chat/completions", {}, 200, "test"),
    ("/api/v1/chat/completions", {"preset": "floor"}, 200, "floor"),
    ("/api/v1/chat/completions", {"model": "@preset/floor"}, 200, "floor"),
    ("/api/v1/chat/completions", {"models": ["gpt-9", "@preset/floor"]}, 200, "floor"),
    ("/v1/chat/completions", {"model": "deepseek-v3.2", "preset": "floor"}, 200, "floor"),
    ("/v1/chat/completions", {"model": "deepseek-v3.2:nitro", "preset": "floor"}, 200, "nitro"),
    ("/v1/messages", {"model": "deepseek-v3.2@preset/floor", "max_tokens": 9}, 200, "floor"),
    ("/v1/chat/completions", {}, 400, None),
    ("/v1/chat/completions", {"model": "deepseek-v3.2", "preset": "none"}, 404, None),
    ("/api/v1/chat/completions", {"preset": ["floor"]}, 400, None),
]


@pytest.mark.parametrize(("path", "fields", "status", "policy"), ASKED)
@pytest.mark.parametrize("sink", ["direct"])  # what is read of a body does not depend on the sink
async def test_on_the_wire(path: str, fields: dict[str, Any], status: int, policy: str | None, routed: Routed) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host, routed(host) as running:
        body = {"messages": [{"role": "user", "content": "Hi"}], **fields}
        answer = await running.client.post(path, json=body)
    assert (answer.status_code, answer.headers.get("x-gateway-policy")) == (status, policy), answer.text
    assert "preset" not in "".join(one.body.decode() for one in host.requests)
