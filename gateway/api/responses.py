"""`POST /v1/responses`: OpenAI's Responses API over chat completions.

body ──> responses.decode ──> chat completion ──> proxy ──> responses.encode ──> response, events
 └── refers to earlier responses ──> the store ──> their items, in its input        └──> the store
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from gateway.api.handler import ApiHandler, with_error_responses
from gateway.cache.stored_responses import StoredResponses
from gateway.errors import BadRequest
from gateway.intake.intake import Intake
from gateway.proxy.proxy import Proxy
from gateway.surface.responses.decode import chat_request
from gateway.surface.responses.earlier import NO_EARLIER, Earlier, load_earlier, record, refers
from gateway.surface.responses.encode import ResponseAnswer
from gateway.surface.responses.tools import NO_TOOLS, read_tools
from gateway.surface.translated import TranslatedSink
from gateway.types import Request
from gateway.types.sink import Inbound, Sink

Json = dict[str, Any]


class _Refers(Exception):
    """The request refers to earlier responses, which must be loaded first."""


class Responses(ApiHandler):
    """Handles responses over any sink. Raises ClientError: all of OpenAI's APIs share one error format.

    `kept` is None if responses are not stored.
    """

    __slots__ = ("_kept", "_tasks")

    def __init__(self, proxy: Proxy, intake: Intake, kept: StoredResponses | None) -> None:
        super().__init__(proxy, intake)
        self._kept = kept
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        try:
            self._serve(inbound, sink, None)
        except _Refers as reference:
            (body,) = reference.args
            task = asyncio.get_running_loop().create_task(self._load_and_serve(inbound, sink, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _load_and_serve(self, inbound: Inbound, sink: Sink, body: Json) -> None:
        """Loads the responses that the request refers to, then serves it."""
        earlier, failed = NO_EARLIER, None
        try:
            assert self._kept is not None
            earlier = await load_earlier(self._kept, self._intake.tenant(inbound), body)
        except Exception as error:
            failed = error

        def serve(inbound: Inbound, sink: Sink) -> None:
            if failed is not None:
                raise failed
            self._serve(inbound, sink, earlier)

        with_error_responses(serve, self._intake.surface)(inbound, sink)

    def _serve(self, inbound: Inbound, sink: Sink, earlier: Earlier | None) -> None:
        """Raises _Refers if the request refers to earlier responses and `earlier` is None."""
        client_body: Json = {}
        own: list[Json] = []
        tools = NO_TOOLS

        def translate(body: Json) -> Json:
            nonlocal own, tools
            client_body.update(body)
            if refers(body):
                if self._kept is None:
                    raise BadRequest(_NOT_KEPT, param="previous_response_id")
                if earlier is None:
                    raise _Refers(body)
                own, body = earlier.applied(body)
            tools = read_tools(body)
            return chat_request(body, tools)

        request, policy = self._intake.read(inbound, translate)
        keep = self._keep(request, client_body, own, earlier or NO_EARLIER)
        answer = ResponseAnswer(client_body, request.id.removeprefix("gen-"), time.time, tools, keep)
        self._proxy.serve(request, policy, TranslatedSink(sink, answer), inbound.received)

    def _keep(
        self, request: Request, client_body: Json, own: list[Json], earlier: Earlier
    ) -> Callable[[Json], None] | None:
        """The function that stores the response, or None if it is not to be stored."""
        kept = self._kept
        if kept is None or not kept.up or client_body.get("store") is False or request.cache == "no-store":
            return None
        given = own or client_body["input"]
        return lambda response: kept.keep(request.tenant, record(response, given, earlier))


_NOT_KEPT = (
    "responses are not stored here (`keep_responses` in gateway.yaml); send the whole conversation as `input`, with"
    " the items in place of references (SDKs do with `store: false`)"
)
