"""Everything that a running gateway reads from files, as one object that is replaced as a whole.

    gateway.yaml, catalogue, environment ──> Settings ─┐
    prices.yaml ──> PriceList ─────────────────────────┼──> Configuration ──> ConfiguredParts, in each worker
    policies/ ──> Policies ────────────────────────────┘

A worker of several gets it from its supervisor, pickled, so that all of them serve by the same one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from gateway.config import Settings
from gateway.config_check import doubts, obstacles
from gateway.errors import ConfigError
from gateway.keys.key_desk import Choices
from gateway.policy.policies import Policies, PolicySet
from gateway.prices.price_list import PriceList


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """`settings` have the prices in force. `prices` and `policies` follow their own files until the next one."""

    settings: Settings
    prices: PriceList
    policies: Policies


def choices_of(settings: Settings, policies: PolicySet) -> Choices:
    """What a virtual key may name."""
    return Choices({name for model in settings.models for name in (model.id, *model.aliases)}, policies)


@dataclass(frozen=True, slots=True)
class RejectedConfig:
    """Files that were read again and are not in force, with the reasons, one line each."""

    problems: tuple[str, ...]


def configured(settings: Settings) -> Configuration:
    """Reads the prices and the policies of these settings. Raises ConfigError, also if they cannot serve together."""
    prices = PriceList(settings)
    priced = prices.priced
    policies = Policies(priced.policies, warnings=partial(doubts, priced))
    if mistakes := obstacles(priced, policies.current):
        raise ConfigError(*mistakes)
    policies.needed = frozenset(_named_policies(priced))  # a reload of the policies keeps them
    return Configuration(priced, prices, policies)


def _named_policies(settings: Settings) -> Iterator[str]:
    """The policies that must not be missing."""
    yield settings.default_policy
    yield from (rule.policy for rule in settings.rules)
    yield from (key.policy for key in settings.keys if key.policy)
    yield from settings.claude.values()
