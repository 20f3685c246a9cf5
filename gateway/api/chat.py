"""`POST /v1/chat/completions`, also at the paths of DeepSeek's API, and OpenAI's legacy `POST /v1/completions`."""

from functools import partial

from msgspec import structs

from gateway.api.fallback import ModelFallback
from gateway.api.handler import ApiHandler, with_error_responses
from gateway.surface.openai.completions import Text, chat_request
from gateway.surface.translated import TranslatedSink
from gateway.types.sink import Inbound, Sink

DEEPSEEK_CHAT = ("/chat/completions", "/beta/chat/completions")  # DeepSeek's base URL has no version prefix


class Chat(ApiHandler):
    """Handles chat completions over any sink. Raises ClientError for a request that cannot be routed."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound)
        if request.other_models:
            sink = ModelFallback(sink, request.other_models, partial(self._try_model, inbound))
        self._proxy.serve(request, policy, sink, inbound.received)

    def _try_model(self, inbound: Inbound, place: int, begun: bool, sink: Sink) -> None:
        """Serves the request with the model at `place` of `models`. `begun`: response headers have been sent."""

        def serve(inbound: Inbound, sink: Sink) -> None:
            request, policy = self._intake.read(inbound, place=place)
            self._proxy.serve(structs.replace(request, begun=begun), policy, sink, inbound.received)

        with_error_responses(serve, self._intake.surface)(inbound, sink)


class Completions(ApiHandler):
    """Handles text completions over any sink. Raises ClientError: all of OpenAI's APIs share one error format."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound, chat_request)
        self._proxy.serve(request, policy, TranslatedSink(sink, Text()), inbound.received)
