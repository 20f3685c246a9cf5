"""One tree of errors. Each leaf knows its status, its type and its code.

    GatewayError
    ├── ConfigError              a file or setting is wrong: what, where, what would be right (never reaches a client)
    │   └── Unreadable              a file or folder cannot be read now
    └── ClientError              reaches the client, in the OpenAI error shape
        ├── BadRequest        400  invalid_request_error
        │   └── ContextTooLong      context_length_exceeded
        ├── Unauthorized      401  authentication_error
        ├── NotFound          404  not_found_error: route, model or policy
        ├── TooLarge          413  request body over the limit
        ├── NoEndpoint        404 | 503  nothing is left after the filters
        ├── StoreAway         503  only the store knows the answer, and it cannot be reached
        └── UpstreamError     429 | 502 | 503 | 504 | the host's own status: every attempt failed

Faults of one attempt are values (`types.Failure`), not exceptions: the core decides on them.
"""

from typing import Any


class GatewayError(Exception):
    """Base of all errors that the gateway raises itself."""


class ConfigError(GatewayError):
    """A file or setting is wrong. `problems` holds one line each, `file:line:column: what, and what would be right`."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.status = status or self.status
        self.retry_after = retry_after
        self.metadata = metadata

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


class NotFound(ClientError):
    status = 404
    type = "not_found_error"


class TooLarge(ClientError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")


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
