"""Match rules: the policy for requests whose client names none.

request ──first rule whose conditions all hold──> policy
        └─no rule──> the key's own policy, or the default
"""

import re
from dataclasses import dataclass, field
from operator import ge, gt, le, lt
from typing import Any, NamedTuple

from gateway.document import DocumentReader, Node, Scalar, Table

_BOUND = re.compile(r"(<=|>=|<|>) *([0-9]{1,15})")
_COMPARE = {"<=": le, ">=": ge, "<": lt, ">": gt}


class Bound(NamedTuple):
    """One comparison, as in `"> 32000"`."""

    operator: str
    value: int

    def holds(self, number: int) -> bool:
        return bool(_COMPARE[self.operator](number, self.value))


class Facts(NamedTuple):
    """The facts of a request that rules can test. `prompt_tokens` is an estimate, `key` the tenant of the client's
    key."""

    app: str
    key: str
    tools: bool
    prompt_tokens: int
    stream: bool


@dataclass(frozen=True, slots=True)
class When:
    """Conditions on a request; None always holds. App names are compared case-insensitively."""

    app: str | None = None
    key: str | None = None
    tools: bool | None = None
    prompt_tokens: Bound | None = None
    stream: bool | None = None

    def holds(self, facts: Facts) -> bool:
        return (
            (self.tools is None or self.tools == facts.tools)
            and (self.stream is None or self.stream == facts.stream)
            and (self.prompt_tokens is None or self.prompt_tokens.holds(facts.prompt_tokens))
            and (self.key is None or self.key == facts.key)
            and (self.app is None or self.app.casefold() == facts.app.casefold())
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy for the requests that meet all conditions."""

    when: When
    policy: str
    place: str = field(default="", compare=False)  # `file:line:column`, for messages


def policy_by_rule(rules: tuple[Rule, ...], facts: Facts) -> str | None:
    """The policy of the first rule whose conditions hold."""
    return next((rule.policy for rule in rules if rule.when.holds(facts)), None)


def read_rule(reader: DocumentReader, node: Node) -> Any:
    """One item of `rules:`."""
    return reader.record(node, Rule, given={"place": str(node.place)})


def read_when(reader: DocumentReader, node: Node) -> Any:
    """The conditions of one rule; at least one is required."""
    if isinstance(node, Table) and not node.entries:
        return reader.problem(node.place, "when: matches every request; give a condition, or use `default_policy`")
    return reader.record(node, When)


def read_bound(reader: DocumentReader, node: Node) -> Any:
    """A comparison with a number of tokens."""
    match = _BOUND.fullmatch(node.text) if isinstance(node, Scalar) else None
    if match is None:
        return reader.problem(node.place, 'expected a comparison of tokens; write it as in `"> 32000"`')
    return Bound(match[1], int(match[2]))
