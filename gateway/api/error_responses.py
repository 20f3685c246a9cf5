"""The responses to requests that fail outside a hot route: each error in the format of its path's API."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.models import VERSION
from gateway.errors import BadRequest, ClientError, NotFound
from gateway.surface.answer import internal_error, path_error_body
from gateway.surface.anthropic import errors as anthropic

ALIKE = 0.75  # similarity, 0 to 1, from which a known path is suggested for an unknown one


async def _client_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ClientError)
    return _error_response(request, error, {name.decode(): value.decode() for name, value in error.headers()})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = NotFound if error.status_code == 404 else BadRequest
    hint = _nearest_path(request) if error.status_code == 404 else ""
    translated = kind(f"{request.method} {request.url.path}: {error.detail}{hint}", status=error.status_code)
    return _error_response(request, translated, error.headers)


def _nearest_path(request: Request) -> str:
    """The hint for an unknown path: the most similar known path, or nothing."""
    known = [route.path for route in request.app.routes if isinstance(route, Route) and "{" not in route.path]
    close = get_close_matches(request.url.path[:100], known, n=1, cutoff=ALIKE)
    return f"; did you mean {close[0]}?" if close else ""


async def _internal_error(request: Request, _: Exception) -> Response:
    return _error_response(request, internal_error())  # the server logs the exception


def _error_response(request: Request, error: ClientError, headers: Mapping[str, str] | None = None) -> Response:
    body = path_error_body(error, request.url.path, to_anthropic=VERSION in request.headers)
    own = {name.decode(): value.decode() for name, value in anthropic.head_of(error.status, body)}
    return JSONResponse(body, error.status, {**own, **(headers or {})})


ERROR_HANDLERS: Final[Mapping[Any, Any]] = {
    ClientError: _client_error,
    HTTPException: _http_error,
    Exception: _internal_error,
}
