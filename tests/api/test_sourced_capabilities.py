from msgspec import to_builtins

from gateway.api.sourced_capabilities import sourced_capabilities
from gateway.types import Endpoint
from gateway.types.capability_claims import NO_CLAIMS, CapabilityClaims, ProbedCapability

ENDPOINT = Endpoint("a/fp8", "a", "http://a", "m", supports=("tools", "seed"))
CLAIMS = CapabilityClaims(
    "litellm 1.110.2", frozenset({"tools", "json_schema", "image"}), {"a/fp8": frozenset({"json_schema"})}
)


def test_each_source_speaks_of_what_it_knows() -> None:
    probed = {"tools": ProbedCapability(19, 20, 1_796_000_000.0), "json_schema": ProbedCapability(0, 3, None)}
    found = to_builtins(sourced_capabilities(ENDPOINT, CLAIMS, probed))  # type: ignore[arg-type]
    assert found == [
        {
            "name": "json_schema",
            "sources": [
                {"source": "configuration", "supported": False},
                {"source": "litellm 1.110.2", "supported": True},
                {"source": "probes", "supported": False, "right": 0, "of": 3, "last": None},
            ],
        },
        {"name": "seed", "sources": [{"source": "configuration", "supported": True}]},
        {
            "name": "tools",
            "sources": [
                {"source": "configuration", "supported": True},
                {"source": "litellm 1.110.2", "supported": False},
                {"source": "probes", "supported": True, "right": 19, "of": 20, "last": "2026-11-30T00:53:20Z"},
            ],
        },
    ]


def test_a_source_that_does_not_list_the_endpoint_says_nothing() -> None:
    for claims in (NO_CLAIMS, CLAIMS._replace(by_endpoint={})):
        (seed, tools) = sourced_capabilities(ENDPOINT, claims, {})
        assert [(one.name, len(one.sources)) for one in (seed, tools)] == [("seed", 1), ("tools", 1)]
