"""Decodes an endpoint's egress fields: `proxy`, `ca_file`, `client_cert`.

A proxy's URL may hold a password in any of its parts, so no message quotes one.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gateway.config.keys import PRINTABLE
from gateway.config.references import replaced
from gateway.document import DocumentReader, Node, Scalar
from gateway.errors import ConfigError
from gateway.files import content
from gateway.types.egress import DIRECT, PemFile, ProxyAddress

PORTS = {"http": 80, "https": 443}
OFF = ("none", "direct")
_NAME = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_FORM = "write http://user:password@host:port or https://..., percent-encoded; the login may be left out"


def proxy_address(text: str) -> ProxyAddress:
    """The proxy of a URL; without a scheme it is `http`. Raises ConfigError, whose message does not have the URL."""
    try:
        return _address(text if "://" in text else f"http://{text}")
    except ValueError:
        raise ConfigError(f"is not an HTTP proxy; {_FORM}") from None


def _address(url: str) -> ProxyAddress:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if (
        not PRINTABLE.fullmatch(url)
        or parts.scheme not in PORTS
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or port == 0
    ):
        raise ValueError
    if ":" in host:
        IPv6Address(host)
    elif not _NAME.fullmatch(host):
        raise ValueError
    user, password = (unquote(part or "", errors="strict") for part in (parts.username, parts.password))
    if ":" in user or any(ord(one) < 32 or ord(one) == 127 for one in user + password):  # RFC 7617, section 2
        raise ValueError
    return ProxyAddress(parts.scheme, host, port or PORTS[parts.scheme], user, password)


def read_proxy(reader: DocumentReader, node: Node, environ: Mapping[str, str]) -> Any:
    """`none`, `direct`, or a URL in which `${NAME}` is replaced."""
    if not isinstance(node, Scalar):
        return reader.problem(node.place, f"proxy: expected one value; {_FORM}, or none")
    if node.text in OFF:
        return DIRECT
    try:
        return proxy_address(replaced(node.text, environ))
    except ConfigError as error:
        return reader.problem(node.place, f"proxy: {error}")


def read_pem(reader: DocumentReader, node: Node) -> Any:
    """A file next to the file that names it, or anywhere by an absolute path."""
    if not isinstance(node, Scalar) or not node.text:
        return reader.problem(node.place, "expected the path of a PEM file")
    path = Path(node.place.source).parent / Path(node.text).expanduser()
    try:
        return PemFile(path, sha256(content(path)).hexdigest())
    except OSError as error:
        return reader.problem(node.place, f"{path}: cannot be read ({error.strerror}); name a readable PEM file")


def pem_problem(ca_file: PemFile | None, client_cert: PemFile | None) -> str | None:
    """Why TLS cannot use these files; None when it can."""
    import ssl  # takes milliseconds, and only these fields need it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file.path)
    except (OSError, ValueError):  # an SSLError is an OSError
        return f"ca_file: {ca_file and ca_file.path} has no certificate in PEM; name a file of trusted authorities"
    try:
        if client_cert is not None:
            context.load_cert_chain(client_cert.path, password=lambda: "")
    except (OSError, ValueError):
        what = "has no certificate with its unencrypted key in PEM"
        return f"client_cert: {client_cert and client_cert.path} {what}; put both into one file"
    return None
