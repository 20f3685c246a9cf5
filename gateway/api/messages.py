"""Anthropic's surface: `POST /v1/messages` and `POST /v1/messages/count_tokens`, also at the paths of DeepSeek's API.

body ──> anthropic.decode ──> chat completion ──> proxy ──> anthropic.encode ──> message, events, errors
"""

from time import time

from gateway.api.handler import ApiHandler, with_error_responses
from gateway.intake.intake import Intake
from gateway.surface.answer import send_json
from gateway.surface.anthropic import errors as anthropic
from gateway.surface.anthropic.decode import chat_body
from gateway.surface.anthropic.encode import MessageAnswer
from gateway.surface.translated import TranslatedSink
from gateway.types.sink import Headers, Inbound, Sink

DEEPSEEK_MESSAGES = "/anthropic/v1/messages"  # DeepSeek's base URL for Anthropic's clients ends in /anthropic


class MessageSink(TranslatedSink):
    """Adds Anthropic's own headers for the request id and for whether to retry, and converts those about limits."""

    __slots__ = ("_answer",)

    def __init__(self, sink: Sink, answer: MessageAnswer) -> None:
        super().__init__(sink, answer)
        self._answer = answer

    def start(self, status: int, headers: Headers) -> None:
        if any(name.startswith(b"x-ratelimit-") for name, _ in headers):
            headers = anthropic.rate_limits(headers, time())
        own = anthropic.head(status, self._answer.request_id)
        if any(name == b"x-should-retry" for name, _ in headers):
            own = own[:1]  # a limit of the gateway's says so itself
        super().start(status, [*headers, *own])


class Messages(ApiHandler):
    """Handles messages over any sink. It never raises: it sends errors in Anthropic's format."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        answer = MessageAnswer()

        def serve(inbound: Inbound, sink: Sink) -> None:
            request, policy = self._intake.read(inbound, chat_body)
            answer.to(request)
            self._proxy.serve(request, policy, sink, inbound.received)

        with_error_responses(serve)(inbound, MessageSink(sink, answer))


class CountTokens:
    """The gateway's estimate of a prompt's length in tokens, without a request to a host. It never raises."""

    __slots__ = ("_intake",)

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        def count(inbound: Inbound, _: Sink) -> None:
            request, _policy = self._intake.read(inbound, chat_body)
            send_json(sink, 200, {"input_tokens": request.prompt_tokens}, [])

        with_error_responses(count)(inbound, MessageSink(sink, MessageAnswer()))
