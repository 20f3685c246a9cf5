"""What the head of the page says of a model."""

from gateway.page.model_view import facts
from gateway.route.fleet import Fleet
from gateway.types import Model
from gateway.types.capability_claims import NO_CLAIMS, CapabilityClaims
from tests.route.world import endpoint

ENDPOINTS = (endpoint("a/fp8", supports=("tools", "seed")), endpoint("b/fp8", supports=("tools",)))
MODEL = Model("author/model", "A model", 32_000, endpoints=ENDPOINTS)


def sources(claims: CapabilityClaims) -> dict[str, str]:
    return {one.name: one.source for one in facts(MODEL, Fleet(ENDPOINTS), False, claims).capabilities}


def test_a_capability_names_its_sources() -> None:
    by_endpoint = {"a/fp8": frozenset({"tools"}), "elsewhere": frozenset({"tools"})}
    claims = CapabilityClaims("litellm 1.110.2", frozenset({"tools", "image"}), by_endpoint)
    assert sources(claims) == {
        "tools": "catalogue or gateway.yaml: 2 of 2 endpoints; litellm 1.110.2: 1 of the 1 that it lists",
        "seed": "catalogue or gateway.yaml: 1 of 2 endpoints",
    }
    assert sources(NO_CLAIMS)["tools"] == "catalogue or gateway.yaml: 2 of 2 endpoints"
