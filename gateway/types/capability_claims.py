"""What litellm's cost map and probes say about the capabilities of endpoints. The configuration decides."""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.types.endpoint import Capability


class CapabilityClaims(NamedTuple):
    """`source` names the source and its version or date, `known` are the capabilities that it speaks of; `by_endpoint`
    has the endpoints that it lists, by id."""

    source: str
    known: frozenset[Capability]
    by_endpoint: Mapping[str, frozenset[Capability]]


class ProbedCapability(NamedTuple):
    """The last answers of probes that need a capability: how many were right, of how many, and when the last one was
    sent (Unix time)."""

    right: int
    of: int
    last: float | None


NO_CLAIMS = CapabilityClaims("", frozenset(), {})
