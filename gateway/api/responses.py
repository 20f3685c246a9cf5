"""`POST /v1/responses`: OpenAI's Responses API over chat completions.

body ──> responses_request ──> chat completion ──> proxy ──> responses_answer ──> response, events
 └── refers to earlier responses ──> responses_kept ──> their items, in its input       └──> kept
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from gateway.api.entrance import Entrance, refusing
from gateway.cache.kept import KeptResponses
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
    """The request refers to earlier responses, which are not there yet."""


class Responses(Entrance):
    """Handles responses over any sink. Raises ClientError, which has one shape in all of OpenAI's APIs.

    `kept` is None where nothing is kept.
    """

    __slots__ = ("_kept", "_tasks")

    def __init__(self, proxy: Proxy, intake: Intake, kept: KeptResponses | None) -> None:
        super().__init__(proxy, intake)
        self._kept = kept
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, inbound: Inbound, sink: Sink) -> None:
        try:
            self._serve(inbound, sink, None)
        except _Refers as reference:
            (body,) = reference.args
            task = asyncio.get_running_loop().create_task(self._recall(inbound, sink, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _recall(self, inbound: Inbound, sink: Sink, body: Json) -> None:
        """Answers a request that has to wait for what it refers to."""
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

        refusing(serve, self._intake.surface)(inbound, sink)

    def _serve(self, inbound: Inbound, sink: Sink, earlier: Earlier | None) -> None:
        """Raises _Refers where `earlier` is None and the request refers to it."""
        asked: Json = {}
        own: list[Json] = []
        tools = NO_TOOLS

        def translate(body: Json) -> Json:
            nonlocal own, tools
            asked.update(body)
            if refers(body):
                if self._kept is None:
                    raise BadRequest(_NOT_KEPT, param="previous_response_id")
                if earlier is None:
                    raise _Refers(body)
                own, body = earlier.applied(body)
            tools = read_tools(body)
            return chat_request(body, tools)

        request, policy = self._intake.read(inbound, translate)
        keep = self._keep(request, asked, own, earlier or NO_EARLIER)
        answer = ResponseAnswer(asked, request.id.removeprefix("gen-"), time.time, tools, keep)
        self._proxy.serve(request, policy, TranslatedSink(sink, answer), inbound.received)

    def _keep(self, request: Request, asked: Json, own: list[Json], earlier: Earlier) -> Callable[[Json], None] | None:
        """What keeps the response, if it is to be kept."""
        kept = self._kept
        if kept is None or not kept.up or asked.get("store") is False or request.cache == "no-store":
            return None
        given = own or asked["input"]
        return lambda response: kept.keep(request.tenant, record(response, given, earlier))


_NOT_KEPT = (
    "responses are not kept here (`keep_responses` in gateway.yaml): send the whole conversation as `input`, and its"
    " items in place of references (SDKs do with `store: false`)"
)
