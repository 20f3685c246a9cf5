"""Anthropic's surface: `POST /v1/messages`, `POST /v1/messages/count_tokens`, and where DeepSeek's clients look for it.

body ──> anthropic_request ──> chat completion ──> proxy ──> anthropic_answer ──> message, events, errors
"""

from gateway.api.entrance import Entrance, refusing
from gateway.intake.intake import Intake
from gateway.surface.answer import send_json
from gateway.surface.anthropic import errors as anthropic
from gateway.surface.anthropic.decode import chat_body
from gateway.surface.anthropic.encode import MessageAnswer
from gateway.surface.translated import TranslatedSink
from gateway.types.sink import Headers, Inbound, Sink

DEEPSEEK_MESSAGES = "/anthropic/v1/messages"  # under the base URL that DeepSeek has for Anthropic's clients


class MessageSink(TranslatedSink):
    """Anthropic's clients read the request's name, and whether to try again, in headers of their own."""

    __slots__ = ("_answer",)

    def __init__(self, sink: Sink, answer: MessageAnswer) -> None:
        super().__init__(sink, answer)
        self._answer = answer

    def start(self, status: int, headers: Headers) -> None:
        super().start(status, [*headers, *anthropic.head(status, self._answer.request_id)])


class Messages(Entrance):
    """Handles messages over any sink. What it refuses is told in Anthropic's words: it raises nothing."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        answer = MessageAnswer()

        def ask(inbound: Inbound, sink: Sink) -> None:
            request, policy = self._intake.read(inbound, chat_body)
            answer.to(request)
            self._proxy.serve(request, policy, sink, inbound.received)

        refusing(ask)(inbound, MessageSink(sink, answer))


class CountTokens:
    """How long a prompt is, by the gateway's own estimate: no host is asked. It raises nothing."""

    __slots__ = ("_intake",)

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        def count(inbound: Inbound, _: Sink) -> None:
            request, _policy = self._intake.read(inbound, chat_body)
            send_json(sink, 200, {"input_tokens": request.prompt_tokens}, [])

        refusing(count)(inbound, MessageSink(sink, MessageAnswer()))
