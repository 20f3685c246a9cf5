"""The hierarchy of errors. Each class has its HTTP status, type and code.

    GatewayError
    ├── ConfigError              a file or setting is invalid: what, where, how to correct it (never sent to a client)
    │   └── Unreadable              a file or folder cannot be read at the moment
    └── ClientError              sent to the client, in OpenAI's error format
        ├── BadRequest        400  invalid_request_error
        │   └── ContextTooLong      context_length_exceeded
        ├── Unauthorized      401  authentication_error
        ├── LimitReached      402 | 429 | 503  a limit of the key, its group or the app, not a host's
        ├── Forbidden         403  permission_error: the request's `Host` or `Origin` is not allowed
        ├── NotFound          404  not_found_error: route, model or policy
        ├── TooSlow           408  the request did not arrive in time
        ├── TooLarge          413  request body over the limit
        ├── UnknownCoding     415  unsupported content-encoding of the request body
        ├── HeadTooLarge      431  request headers over the limit
        ├── Overloaded        503  this worker, or every endpoint, is at its limit of requests in flight
        ├── NoEndpoint        404 | 503  no endpoint is left after the filters
        ├── StoreAway         503  the response needs the store, which cannot be reached
        └── UpstreamError     429 | 502 | 503 | 504 | the host's own status: every attempt failed

Failures of a single attempt are values (`types.Failure`), not exceptions: the routing core decides what to do.
"""

import re
from collections.abc import Sequence
from typing import Any

# user:password@ in front of a host, also in a misspelt URL. The placeholder of our own messages is not redacted.
_CREDENTIALS = re.compile(r"[^\s`'\"]*:[^\s`'\"]*@")


def _hidden(found: re.Match[str]) -> str:
    return found[0] if found[0].endswith("//user:password@") else "***@"


class GatewayError(Exception):
    """Base of all errors that the gateway raises itself."""


class ConfigError(GatewayError):
    """A file or setting is invalid. `problems` holds one line each: `file:line:column: what, and how to correct it`.

    The user and password of a URL are always redacted.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(_CREDENTIALS.sub(_hidden, problem) for problem in problems)
        super().__init__("\n".join(self.problems))


class Unreadable(ConfigError):
    """A file or folder cannot be read at the moment, but perhaps later without a change."""


class ClientError(GatewayError):
    """An error that is sent to the client."""

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
        """`retry_after` is in seconds. `final`: the request's other `models` are not tried."""
        super().__init__(message)
        self.message = message
        self.final = final
        self.param = param
        self.code = code or self.code
        self.status = status or self.status
        self.retry_after = retry_after
        self.metadata = metadata

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The response headers of this error: Retry-After, if a retry may succeed."""
        return [] if self.retry_after is None else [(b"retry-after", b"%d" % max(1, round(self.retry_after)))]

    def body(self) -> dict[str, Any]:
        """OpenAI's error object, with `metadata` about hosts if there is any."""
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


class LimitReached(ClientError):
    """A limit of the gateway's own refuses the request. `limits` are headers that say which, and when it resets."""

    def __init__(self, message: str, *, status: int, code: str, limits: list[tuple[bytes, bytes]], **more: Any) -> None:
        super().__init__(message, status=status, code=code, final=True, **more)
        self.type = "rate_limit_error" if status == 429 else "insufficient_quota" if status == 402 else self.type
        self._limits = limits

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers(), *self._limits]


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
        message = f"content-encoding `{coding}` is not supported; use {self._taken}, or send the body uncompressed"
        super().__init__(message, param="content-encoding")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Adds Accept-Encoding with the supported codings (RFC 9110, 15.5.16)."""
        return [*super().headers(), (b"accept-encoding", self._taken.encode())]


class HeadTooLarge(ClientError):
    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request headers are larger than {limit} bytes")


class Overloaded(ClientError):
    status = 503
    code = "overloaded"

    def __init__(self, limit: str = "the gateway is at its limit of requests in flight") -> None:
        super().__init__(f"{limit}; retry later", retry_after=1.0)


HOSTS_FULL = "every endpoint is at its limit of requests in flight"


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
