"""Where the requests of each endpoint go: an address, or an adapter in front of one, by the endpoint's way out."""

from collections.abc import Iterable, Mapping

from gateway.errors import ConfigError
from gateway.types import Endpoint
from gateway.types.egress import PemFile
from gateway.upstream.litellm_adapter import Adapted, load
from gateway.upstream.transport.address import Address, Destination
from gateway.upstream.transport.pool import Egress
from gateway.upstream.transport.tls import Trust
from gateway.upstream.transport.transport import Transport

Trusts = dict[tuple[PemFile | None, PemFile | None], Trust]


def located(endpoints: Iterable[Endpoint], secrets: Mapping[str, str], transport: Transport) -> dict[str, Destination]:
    """By endpoint id; requests go over `transport`. Imports litellm, which takes seconds, only if an endpoint needs it.
    Raises ConfigError where it is not installed, or a file of certificates cannot be used."""
    trusts: Trusts = {}
    return {
        one.id: _located(one, secrets.get(one.api_key_env or ""), transport, egress_of(one, trusts))
        for one in endpoints
    }


def egress_of(endpoint: Endpoint, trusts: Trusts) -> Egress:
    """The way out to an endpoint. `trusts` has the TLS contexts that exist already: endpoints with the same files share
    one. A proxy never gets the client's certificate. Raises ConfigError."""
    proxy, ca_file, own = endpoint.proxy, endpoint.ca_file, endpoint.client_cert
    try:
        proxy_trust = _trust(ca_file, None, trusts) if proxy and proxy.scheme == "https" else None
        return Egress(proxy, _trust(ca_file, own, trusts), proxy_trust)
    except OSError:
        raise ConfigError(f"endpoint {endpoint.id}: its ca_file or client_cert cannot be used any more") from None


def _trust(ca_file: PemFile | None, client_cert: PemFile | None, trusts: Trusts) -> Trust | None:
    if ca_file is None and client_cert is None:
        return None
    found = trusts.get((ca_file, client_cert))
    if found is None:
        found = Trust(ca_file and ca_file.path, client_cert and client_cert.path)
        trusts[ca_file, client_cert] = found
    return found


def _located(endpoint: Endpoint, key: str | None, transport: Transport, egress: Egress) -> Destination:
    if endpoint.adapter == "litellm":
        return Adapted(endpoint, key, load(endpoint), transport, egress)
    return Address(endpoint, key, transport, egress)
