"""`GET /v1/models` and `GET /v1/models/{id}` in OpenAI's and in Anthropic's format.

Anthropic's SDKs are recognised by the header `anthropic-version`, which they send with every request.
"""

from typing import Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.intake.auth import Keys
from gateway.intake.field_types import ApiObject, Count, Moment, No, json_answer
from gateway.intake.model_and_policy import Names
from gateway.surface.anthropic.claude import ClaudeNames
from gateway.types import Model
from gateway.types.utc import utc_text

VERSION = "anthropic-version"


ModelHeaders = TypedDict("ModelHeaders", {"anthropic-version": str}, total=False)


class OpenAIModel(ApiObject, tag_field="object", tag="model"):
    id: str
    created: Count
    owned_by: str
    name: str
    context_length: Count


class OpenAIModels(ApiObject, tag_field="object", tag="list"):
    data: list[OpenAIModel]


class AnthropicModel(ApiObject, tag_field="type", tag="model"):
    id: str
    display_name: str
    created_at: Moment
    max_input_tokens: Count
    lifecycle: Literal["active"] = "active"


class AnthropicModels(ApiObject):
    data: list[AnthropicModel]
    first_id: str | None
    last_id: str | None
    has_more: No = False


class ModelList:
    """Lists all models in one page, because there are few."""

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
            return json_answer(OpenAIModels([_openai(model) for model in self._models]))
        data = [_anthropic(model) for model in self._models]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return json_answer(AnthropicModels(data, first, last))

    async def _one(self, request: Request) -> Response:
        """Raises Unauthorized, NotFound."""
        self._keys.caller(request)
        name = request.path_params["name"]
        if VERSION in request.headers:
            return json_answer(_anthropic(self._claude.model(name).model))
        return json_answer(_openai(self._names.model(name).model))


def _openai(model: Model) -> OpenAIModel:
    owner = model.id.partition("/")[0]
    return OpenAIModel(model.id, model.created, owner, model.name, model.context)


def _anthropic(model: Model) -> AnthropicModel:
    return AnthropicModel(model.id, model.name, utc_text(model.created), model.context)
