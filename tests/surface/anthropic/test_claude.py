"""Claude's model names: which model and policy each of them stands for."""

import pytest

from gateway.errors import NotFound
from gateway.intake.model_and_policy import PolicyCandidates, choose_policy
from gateway.policy.policies import Policies
from gateway.surface.anthropic.claude import ClaudeNames
from gateway.types import Model

FIRST = Model("own/first", "First", 1_000, (), aliases=("first",))
SECOND = Model("own/second", "Second", 1_000, (), aliases=("claude-opus-5",))
NAMES = ClaudeNames((FIRST, SECOND), FIRST, {"Haiku": "nitro", "opus": "exacto"})
UNNAMED = PolicyCandidates("", "", "balanced")


@pytest.mark.parametrize(
    ("name", "model", "policy"),
    [
        ("claude-sonnet-4-5", FIRST, "balanced"),
        ("anthropic/claude-sonnet-4-5", FIRST, "balanced"),
        ("claude-sonnet-4-5[1m]", FIRST, "balanced"),
        ("Claude-Sonnet", FIRST, "balanced"),
        ("claude", FIRST, "balanced"),
        ("claude-haiku-4-5", FIRST, "nitro"),
        ("claude-HAIKU-4-5", FIRST, "nitro"),
        ("claude-opus-4", FIRST, "exacto"),
        ("claude-haiku-opus", FIRST, "nitro"),
        ("claude-opus-4:floor", FIRST, "floor"),
        ("claude-opus-5", SECOND, "balanced"),
        ("anthropic/claude-opus-5[1m]", SECOND, "balanced"),
        ("first[1m]", FIRST, "balanced"),
        ("anthropic/own/second", SECOND, "balanced"),
    ],
)
def test_a_name_of_claudes_is_the_first_model_unless_a_model_has_it(name: str, model: Model, policy: str) -> None:
    named = NAMES.model(name)
    assert (named.model, choose_policy(named, UNNAMED, Policies().current).name) == (model, policy)


def test_the_names_of_reasoning_apply_to_the_models_own_names_only() -> None:
    """`thinks` compares the name of the request: Claude's names have no reasoning of their own."""
    assert NAMES.model("anthropic/claude-opus-4[1m]:floor").name == "claude-opus-4"
    assert not NAMES.model("claude-opus-4").thinks(None)
    assert NAMES.model("claude-opus-4").thinks(True)


@pytest.mark.parametrize("name", ["gpt-4", "my-claude", "anthropic/gpt-4", "openai/claude-opus-4"])
def test_other_names_are_unknown(name: str) -> None:
    with pytest.raises(NotFound, match=f"no model `{name}`; known models: own/first, own/second"):
        NAMES.model(name)


def test_without_a_model_in_use_claudes_names_are_unknown() -> None:
    names = ClaudeNames((FIRST,), None, {})
    assert names.model("first").model is FIRST
    for name in ("claude-opus-4", "@preset/floor"):
        with pytest.raises(NotFound):
            names.model(name)


def test_a_preset_alone_has_the_first_model_in_use() -> None:
    named = ClaudeNames((FIRST, SECOND), SECOND, {"opus": "exacto"}).model("@preset/floor")
    assert (named.model, named.suffix, named.policy) == (SECOND, "floor", "")
