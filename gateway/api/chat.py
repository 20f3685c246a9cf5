"""`POST /v1/chat/completions`, also at the paths of DeepSeek's API, and OpenAI's older `POST /v1/completions`."""

from functools import partial

from msgspec import structs

from gateway.api.entrance import Entrance, refusing
from gateway.api.fallback import OtherModels
from gateway.surface.openai.completions import Text, chat_request
from gateway.surface.translated import TranslatedSink
from gateway.types.sink import Inbound, Sink

DEEPSEEK_CHAT = ("/chat/completions", "/beta/chat/completions")  # DeepSeek's base URL has no version


class Chat(Entrance):
    """Handles chat completions over any sink. Raises ClientError for what cannot be routed."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound)
        if request.other_models:
            sink = OtherModels(sink, request.other_models, partial(self._ask, inbound))
        self._proxy.serve(request, policy, sink, inbound.received)

    def _ask(self, inbound: Inbound, place: int, begun: bool, sink: Sink) -> None:
        """Another model of the request's; `begun` where a head has left for the one before."""

        def ask(inbound: Inbound, sink: Sink) -> None:
            request, policy = self._intake.read(inbound, place=place)
            self._proxy.serve(structs.replace(request, begun=begun), policy, sink, inbound.received)

        refusing(ask, self._intake.surface)(inbound, sink)


class Completions(Entrance):
    """Handles text completions over any sink. Raises ClientError, which has one shape in all of OpenAI's APIs."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        request, policy = self._intake.read(inbound, chat_request)
        self._proxy.serve(request, policy, TranslatedSink(sink, Text()), inbound.received)
