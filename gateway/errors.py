"""One tree of errors. Each leaf knows its status, its type and its code.

    GatewayError
    ├── ConfigError              a file or setting is wrong: what, where, what would be right (never reaches a client)
    │   └── Unreadable              a file or folder cannot be read now
    └── ClientError              reaches the client, in the OpenAI error shape
        ├── BadRequest        400  invalid_request_error
        │   └── ContextTooLong      context_length_exceeded
        ├── Unauthorized      401  authentication_error
        ├── Forbidden         403  permission_error: a web page or a host name that may not use this gateway
        ├── NotFound          404  not_found_error: route, model or policy
        ├── TooSlow           408  the request did not arrive in time
        ├── TooLarge          413  request body over the limit
        ├── UnknownCoding     415  request body compressed in a way that is not read
        ├── HeadTooLarge      431  request head over the limit
        ├── Overloaded        503  this worker has as many requests as it takes
        ├── NoEndpoint        404 | 503  nothing is left after the filters
        ├── StoreAway         503  only the store knows the answer, and it cannot be reached
        └── UpstreamError     429 | 502 | 503 | 504 | the host's own status: every attempt failed

Faults of one attempt are values (`types.Failure`), not exceptions: the core decides on them.
"""

import re
from collections.abc import Sequence
from typing import Any

# As in redis://host, with a user and a password in front of the host, however it is misspelt; our own example stays.
_CREDENTIALS = re.compile(r"[^\s`'\"]*:[^\s`'\"]*@")


def _hidden(found: re.Match[str]) -> str:
    return found[0] if found[0].endswith("//user:password@") else "***@"


class GatewayError(Exception):
    """Base of all errors that the gateway raises itself."""


class ConfigError(GatewayError):
    """A file or setting is wrong. `problems` holds one line each, `file:line:column: what, and what would be right`.

    A URL's user and password are never part of one, wherever they were written by mistake.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(_CREDENTIALS.sub(_hidden, problem) for problem in problems)
        super().__init__("\n".join(self.problems))


class Unreadable(ConfigError):
    """A file or folder cannot be read now. It may be later, without a change."""


class ClientError(GatewayError):
    """An error that the client sees."""

    status = 500
    type = "api_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        metadata: dict[str, Any] | None = None,
        final: bool = False,
    ) -> None:
        """`final`: it is the answer, also where the request names other models."""
        super().__init__(message)
        self.message = message
        self.final = final
        self.param = param
        self.code = code or self.code
        self.status = status or self.status
        self.retry_after = retry_after
        self.metadata = metadata

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the head of the answer says: Retry-After where waiting helps."""
        return [] if self.retry_after is None else [(b"retry-after", b"%d" % max(1, round(self.retry_after)))]

    def body(self) -> dict[str, Any]:
        """The OpenAI error object, with `metadata` beside it when there is something to tell about hosts."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        if self.metadata:
            error["metadata"] = self.metadata
        return {"error": error}


class BadRequest(ClientError):
    status = 400
    type = "invalid_request_error"


class ContextTooLong(BadRequest):
    code = "context_length_exceeded"


class Unauthorized(ClientError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(ClientError):
    status = 403
    type = "permission_error"


class NotFound(ClientError):
    status = 404
    type = "not_found_error"


class TooSlow(ClientError):
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("the request did not arrive in time")


class TooLarge(ClientError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")


class UnknownCoding(ClientError):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_content_encoding"

    def __init__(self, coding: str, taken: Sequence[str]) -> None:
        self._taken = ", ".join(taken)
        message = f"content-encoding `{coding}` is not read here; send {self._taken}, or the body as it is"
        super().__init__(message, param="content-encoding")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """RFC 9110 15.5.16: which codings would be right."""
        return [*super().headers(), (b"accept-encoding", self._taken.encode())]


class HeadTooLarge(ClientError):
    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the head of the request is larger than {limit} bytes")


class Overloaded(ClientError):
    status = 503
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("the gateway has as many requests as it can hold; send this one again", retry_after=1.0)


class NoEndpoint(ClientError):
    status = 503
    code = "no_endpoint"


class StoreAway(ClientError):
    status = 503
    code = "store_away"

    def __init__(self, consequence: str) -> None:
        super().__init__(f"{consequence}: the gateway's store cannot be reached")


class UpstreamError(ClientError):
    status = 502
    type = "upstream_error"
