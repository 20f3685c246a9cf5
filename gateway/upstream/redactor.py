"""What clients and the operator may read of a host's failure: no secrets, and some of it only the operator."""

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote

from gateway.types import Endpoint, Failure

SHORTEST_SECRET = 8  # characters; a shorter secret may be a common word, and is not redacted


class Redactor:
    """`secrets` are redacted in failures. `to_operator`: the clients are the operator, who may read what is private in
    a failure."""

    __slots__ = ("_secrets", "_to_operator")

    def __init__(self, secrets: Iterable[str] = (), *, to_operator: bool = False) -> None:
        known = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
        self._secrets = dict.fromkeys([*known, *(quote(secret, safe="") for secret in known)])  # also as in a URL
        self._to_operator = to_operator

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._secrets)} spellings>"

    def concealed(self, failure: Failure, endpoint: Endpoint) -> Failure:
        """The failure at an endpoint as a client may see it, without our secrets: some hosts quote the key that they
        refuse."""
        message, code = self._masked(failure.message), failure.code and self._masked(failure.code)
        if self._to_operator and failure.private:
            message = self.explained(failure, endpoint)
        if message == failure.message and code == failure.code:
            return failure
        return replace(failure, message=message, code=code)

    def explained(self, failure: Failure, endpoint: Endpoint) -> str:
        """The failure as its operator needs to see it: with the variable of a refused key, and the host's words."""
        message = self._masked(failure.message)
        if not failure.private:
            return message
        check = f"; check {endpoint.api_key_env}" if endpoint.api_key_env else ""
        return f"{message}{check}; the host says: {self._masked(failure.private)}"

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text
