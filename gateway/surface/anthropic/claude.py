"""Claude model names on the routes of Anthropic's API. Claude Code's subagents and some libraries hard-code them.

    claude-haiku-4-5-20251001, anthropic/claude-..., claude-...[1m], each with an optional policy suffix
        ──> the first model in use, with the policy that `claude` in gateway.yaml maps the name to, if any

A model that lists such a name among its `aliases` takes precedence.
"""

from collections.abc import Iterable, Mapping

from gateway.intake.model_and_policy import Names, ResolvedModel
from gateway.types import Model

VENDOR = "anthropic/"
LONG_CONTEXT = "[1m]"  # Claude Code's suffix for a context window of a million tokens
FAMILY = "claude"


class ClaudeNames(Names):
    """Model names, including Claude's. `default` is the model that Claude names resolve to, or None; `policies` maps a
    substring of a name (`haiku`) to a policy."""

    __slots__ = ("_policies",)

    def __init__(self, models: Iterable[Model], default: Model | None, policies: Mapping[str, str]) -> None:
        super().__init__(models)
        self.default = None if default is None else ResolvedModel(default, "", default.id)
        self._policies = policies

    def _named(self, base: str) -> ResolvedModel | None:
        plain = base.removeprefix(VENDOR).removesuffix(LONG_CONTEXT)
        if (known := super()._named(base) or super()._named(plain)) is not None:
            return known
        if self.default is None or not plain.lower().startswith(FAMILY):
            return None
        return self.default._replace(name=plain, policy=self._policy(plain.lower()))

    def _policy(self, name: str) -> str:
        return next((policy for part, policy in self._policies.items() if part.lower() in name), "")
