"""Claude's names of models, on the routes of Anthropic's API: Claude Code's subagents and some libraries send them.

    claude-haiku-4-5-20251001, anthropic/claude-..., claude-...[1m], with a policy behind it or without
        ──> the first model in use, under the policy that `claude` in gateway.yaml has for such a name, if any

A model that has such a name among its `aliases` keeps it.
"""

from collections.abc import Iterable, Mapping

from gateway.intake.names import Named, Names
from gateway.types import Model

VENDOR = "anthropic/"
LONG_CONTEXT = "[1m]"  # how Claude Code marks that a model takes a million tokens
FAMILY = "claude"


class ClaudeNames(Names):
    """Names that may be Claude's as well. `default` is the model that those mean, None where there is none; `policies`
    has a policy for a part of a name (`haiku`)."""

    __slots__ = ("_policies",)

    def __init__(self, models: Iterable[Model], default: Model | None, policies: Mapping[str, str]) -> None:
        super().__init__(models)
        self.default = None if default is None else Named(default, "", default.id)
        self._policies = policies

    def _named(self, base: str) -> Named | None:
        plain = base.removeprefix(VENDOR).removesuffix(LONG_CONTEXT)
        if (known := super()._named(base) or super()._named(plain)) is not None:
            return known
        if self.default is None or not plain.lower().startswith(FAMILY):
            return None
        return self.default._replace(name=plain, policy=self._policy(plain.lower()))

    def _policy(self, name: str) -> str:
        return next((policy for part, policy in self._policies.items() if part.lower() in name), "")
