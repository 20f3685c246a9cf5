"""What a source beside the configuration says about the capabilities of endpoints."""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.types.endpoint import Capability


class CapabilityClaims(NamedTuple):
    """`source` names the source and its version or date, `known` are the capabilities that it speaks of; `by_endpoint`
    has the endpoints that it lists, by id."""

    source: str
    known: frozenset[Capability]
    by_endpoint: Mapping[str, frozenset[Capability]]


NO_CLAIMS = CapabilityClaims("", frozenset(), {})
