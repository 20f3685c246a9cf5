"""The capabilities of an endpoint, each with what every source says about it.

gateway.yaml or the catalogue ──decides──┐
litellm's cost map, where it lists it ───┼──> ListedCapability
answers to probes that need it ──────────┘
"""

from collections.abc import Iterator, Mapping

from gateway.api.listing_types import CapabilitySource, ListedCapability
from gateway.types import Endpoint
from gateway.types.capability_claims import CapabilityClaims, ProbedCapability
from gateway.types.endpoint import Capability
from gateway.types.utc import utc_text

CONFIGURATION = "configuration"
PROBES = "probes"


def sourced_capabilities(
    endpoint: Endpoint, claims: CapabilityClaims, probed: Mapping[Capability, ProbedCapability]
) -> list[ListedCapability]:
    """Those that any source says it has, by name."""
    claimed = claims.by_endpoint.get(endpoint.id, frozenset())
    names = sorted({*endpoint.supports, *claimed})
    return [ListedCapability(name, list(_sources(name, endpoint, claims, probed.get(name)))) for name in names]


def _sources(
    name: Capability, endpoint: Endpoint, claims: CapabilityClaims, seen: ProbedCapability | None
) -> Iterator[CapabilitySource]:
    yield CapabilitySource(CONFIGURATION, name in endpoint.supports)
    if endpoint.id in claims.by_endpoint and name in claims.known:
        yield CapabilitySource(claims.source, name in claims.by_endpoint[endpoint.id])
    if seen is not None:
        last = None if seen.last is None else utc_text(seen.last)
        yield CapabilitySource(PROBES, seen.right > 0, seen.right, seen.of, last)
