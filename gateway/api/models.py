"""`GET /v1/models` and `GET /v1/models/{id}`, as OpenAI's and Anthropic's clients list them.

Anthropic's SDKs send `anthropic-version` with every request; that tells the two apart.
"""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.auth import Keys
from gateway.api.claude import ClaudeNames
from gateway.api.names import Names
from gateway.types import Model

VERSION = "anthropic-version"


class ModelList:
    """All of the models in one page: there are few."""

    def __init__(self, models: tuple[Model, ...], keys: Keys, claude: ClaudeNames) -> None:
        self._models = models
        self._keys = keys
        self._names = Names(models)
        self._claude = claude

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self._list, methods=["GET"]),
            Route("/models", self._list, methods=["GET"]),  # DeepSeek's
            Route("/v1/models/{name:path}", self._one, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        self._keys.caller(request)
        if VERSION not in request.headers:
            return JSONResponse({"object": "list", "data": [_openai(model) for model in self._models]})
        data = [_anthropic(model) for model in self._models]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return JSONResponse({"data": data, "has_more": False, "first_id": first, "last_id": last})

    async def _one(self, request: Request) -> Response:
        """Raises Unauthorized, NotFound."""
        self._keys.caller(request)
        name = request.path_params["name"]
        if VERSION in request.headers:
            return JSONResponse(_anthropic(self._claude.model(name).model))
        return JSONResponse(_openai(self._names.model(name).model))


def _openai(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.id.partition("/")[0],
        "name": model.name,
        "context_length": model.context,
    }


def _anthropic(model: Model) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": model.context,
    }
