"""Why no connection could be made."""

import socket
import ssl

from gateway.types import Fault


class DialError(Exception):
    """`fault` says whether it is the host's or the proxy's."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


def why(error: Exception) -> str:
    """The message for a failed connect."""
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS handshake failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS handshake failed: {error.reason}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return f"could not connect: {error}"
