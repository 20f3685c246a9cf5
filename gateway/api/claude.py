"""Claude's names of models, on the routes of Anthropic's API: Claude Code's subagents and some libraries send them.

    claude-haiku-4-5-20251001, anthropic/claude-..., claude-...[1m], with a policy behind it or without
        ──> the first model in use, under the policy that `claude` in gateway.yaml has for such a name, if any

A model that has such a name among its `aliases` keeps it.
"""

from collections.abc import Iterable, Mapping

from gateway.api.names import Named, Names
from gateway.errors import NotFound
from gateway.types import Model

VENDOR = "anthropic/"
LONG_CONTEXT = "[1m]"  # how Claude Code marks that a model takes a million tokens
FAMILY = "claude"


class ClaudeNames(Names):
    """Names that may be Claude's as well. `default` is the model that those mean, None where there is none; `policies`
    has a policy for a part of a name (`haiku`)."""

    __slots__ = ("_default", "_policies")

    def __init__(self, models: Iterable[Model], default: Model | None, policies: Mapping[str, str]) -> None:
        super().__init__(models)
        self._default = default
        self._policies = policies

    def model(self, name: object) -> Named:
        try:
            return super().model(name)
        except NotFound:
            if not isinstance(name, str):
                raise
            base, _, suffix = name.partition(":")
            plain = base.removeprefix(VENDOR).removesuffix(LONG_CONTEXT)
            if self._default is not None and plain.lower().startswith(FAMILY):
                return Named(self._default, suffix, plain, self._policy(plain.lower()))
            if plain == base:
                raise
        return super().model(f"{plain}:{suffix}" if suffix else plain)

    def _policy(self, name: str) -> str:
        return next((policy for part, policy in self._policies.items() if part.lower() in name), "")
