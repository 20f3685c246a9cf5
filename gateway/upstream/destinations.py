"""Where the requests of each endpoint go: an address, or an adapter in front of one."""

from collections.abc import Iterable, Mapping

from gateway.types import Endpoint
from gateway.upstream.litellm_adapter import Adapted, load
from gateway.upstream.transport.address import Address, Destination


def located(endpoints: Iterable[Endpoint], secrets: Mapping[str, str]) -> dict[str, Destination]:
    """By endpoint id. Imports litellm, which takes seconds, only if an endpoint needs it. Raises ConfigError where it
    is not installed."""
    return {endpoint.id: _located(endpoint, secrets.get(endpoint.api_key_env or "")) for endpoint in endpoints}


def _located(endpoint: Endpoint, key: str | None) -> Destination:
    return Adapted(endpoint, key, load(endpoint)) if endpoint.adapter == "litellm" else Address(endpoint, key)
