"""`POST /v1/responses`: OpenAI's Responses API over chat completions, stateless.

body ──> responses_request ──> chat completion ──> proxy ──> responses_answer ──> response, events
"""

import time
from typing import Any

from gateway.api.entrance import Entrance
from gateway.api.responses_answer import Answer
from gateway.api.responses_request import chat_request
from gateway.api.translated import TranslatedSink
from gateway.proxy.inbound import Inbound
from gateway.proxy.sink import Sink


class Responses(Entrance):
    """Handles responses over any sink. Raises ClientError, which has one shape in all of OpenAI's APIs."""

    __slots__ = ()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        asked: dict[str, Any] = {}

        def translate(body: dict[str, Any]) -> dict[str, Any]:
            asked.update(body)
            return chat_request(body)

        request, policy = self._intake.read(inbound, translate)
        answer = Answer(asked, request.id.removeprefix("gen-"), time.time)
        self._proxy.serve(request, policy, TranslatedSink(sink, answer), inbound.received)
