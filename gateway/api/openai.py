"""OpenAI's surface: `POST /v1/chat/completions`, `GET /v1/models`."""

from functools import partial

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from gateway.api.auth import Keys
from gateway.api.fallback import OtherModels
from gateway.api.names import Names
from gateway.api.refuse import refusing
from gateway.api.surface import Surface
from gateway.proxy.inbound import Inbound
from gateway.proxy.sink import Sink
from gateway.types import Model


class Chat(Surface):
    """Handles chat completions over any sink. Raises ClientError for what cannot be routed."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound)
        if request.other_models:
            sink = OtherModels(sink, request.other_models, partial(self._ask, inbound))
        self._proxy.serve(request, policy, sink, inbound.received)

    def _ask(self, inbound: Inbound, place: int, sink: Sink) -> None:
        """Another model of the request's."""

        def ask(inbound: Inbound, sink: Sink) -> None:
            request, policy = self._intake.read(inbound, place=place)
            self._proxy.serve(request, policy, sink, inbound.received)

        refusing(ask, self._intake.surface)(inbound, sink)


class ModelList:
    """The models, as OpenAI's clients list them."""

    def __init__(self, models: tuple[Model, ...], keys: Keys) -> None:
        self._models = models
        self._keys = keys
        self._names = Names(models)

    async def list(self, request: HttpRequest) -> Response:
        self._keys.of(dict(request.headers.raw))
        return JSONResponse({"object": "list", "data": [_model(model) for model in self._models]})

    async def one(self, request: HttpRequest) -> Response:
        self._keys.of(dict(request.headers.raw))
        named = self._names.model(request.path_params["name"])
        return JSONResponse(_model(named.model))


def _model(model: Model) -> dict[str, object]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.id.partition("/")[0],
        "name": model.name,
        "context_length": model.context,
    }
