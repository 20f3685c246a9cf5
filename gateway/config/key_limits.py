"""Limits of keys, groups of keys and apps, and what applies while the store is unavailable.

keys: - {tenant, limits: {...}}      limits: {without_store, groups: {NAME: {...}}, apps: {NAME: {...}}}
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from gateway.document import INVALID, DocumentReader, Node, place_at
from gateway.types.units import Usd

WithoutStore = Literal["open", "closed"]
Scope = Literal["key", "group", "app"]
LimitName = Literal["requests_per_minute", "tokens_per_minute", "usd_per_day", "usd_per_month"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one key, group or app may use; None: no limit. Minutes, days and months are in UTC."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: Usd | None = None
    usd_per_month: Usd | None = None

    def items(self) -> list[tuple[LimitName, float]]:
        """Those that are set."""
        return [(name, bound) for name in LIMITS if (bound := getattr(self, name)) is not None]


# The least and the most of each kind. Within these the store's numbers are exact, in requests, tokens or 1e-9 USD.
_COUNT = (1, 10**12, "1 to 1,000,000,000,000")
_USD = (1e-6, 4e6, "$0.000001 to $4,000,000")
LIMITS: tuple[LimitName, ...] = tuple(one.name for one in fields(Bounds))  # type: ignore[misc]
NO_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """`without_store`: `open` lets a worker grant a part of what was left by itself, `closed` refuses with 503."""

    without_store: WithoutStore = "open"
    groups: dict[str, Bounds] = field(default_factory=dict)
    apps: dict[str, Bounds] = field(default_factory=dict)


def wrong_bound(bounds: Bounds) -> tuple[LimitName, str] | None:
    """The first limit that cannot be enforced, and what to write; None without one."""
    for name, bound in bounds.items():
        least, most, words = _USD if name.startswith("usd") else _COUNT
        if not least <= bound <= most:
            return name, f"{name}: must be from {words}, or absent; to refuse a key altogether, revoke it"
    return None


def read_bounds(reader: DocumentReader, node: Node) -> Any:
    """The limits of one key, group or app."""
    bounds = reader.record(node, Bounds)
    if bounds is INVALID:
        return INVALID
    wrong = wrong_bound(bounds)
    if wrong is not None:
        name, what = wrong
        return reader.problem(place_at(node, name), what)
    return bounds
