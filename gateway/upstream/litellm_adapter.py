"""Endpoints that speak no OpenAI dialect (Bedrock Converse, Azure, Vertex): litellm translates, our transport carries.

    OpenAI JSON ──> litellm ──ask──> Transport ──> host
    Receiver <── OpenAI JSON or SSE <── litellm <── Body <── 200 ──┘
             <── status, headers and body as they came <── any other status

litellm never opens a connection to a host and never reads an error: it turns one question into one request, and the
answer's bytes into chunks. What it makes up is undone: finish reasons are the host's own words, read beside it from
the same bytes, and an answer without one ends without one. It is imported where an endpoint needs it, when a worker
starts; `litellm_library.py` is the only module that does.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec

from gateway.errors import ConfigError
from gateway.types import Endpoint
from gateway.upstream.litellm_call import AdaptedCall, Answered, Translate
from gateway.upstream.litellm_question import Question, Refused
from gateway.upstream.transport.address import locate
from gateway.upstream.transport.connection import Receiver
from gateway.upstream.transport.transport import Transport

EXTRA = "llm-routing-gateway[litellm]"
Library = Callable[[Endpoint, str | None], Translate]
REHEARSAL = 10.0  # seconds that a worker's start waits for credentials
_TOOL = {"type": "function", "function": {"name": "none", "parameters": {"type": "object", "properties": {}}}}
_REHEARSED = {"messages": [{"role": "user", "content": "Hi"}], "tools": [_TOOL], "stream": True}


def lacking(endpoint: Endpoint) -> str | None:
    """What must be installed before this endpoint can be used; None when nothing must."""
    if endpoint.adapter == "none" or find_spec("litellm") is not None:
        return None
    return f"endpoint {endpoint.id}: `adapter: litellm` needs a package that is not here; install {EXTRA}"


def load(endpoint: Endpoint) -> Library:
    """Imports litellm, which takes seconds. Raises ConfigError when it is not installed."""
    if problem := lacking(endpoint):
        raise ConfigError(problem)
    try:
        from gateway.upstream.litellm_library import translator
    except ImportError as error:
        raise ConfigError(f"endpoint {endpoint.id}: litellm cannot be imported ({error}); install {EXTRA}") from None
    return translator


class Adapted:
    """An endpoint behind litellm: takes and gives OpenAI's JSON. Made once per endpoint."""

    __slots__ = ("_name", "_translate", "origin")

    def __init__(self, endpoint: Endpoint, api_key: str | None, library: Library) -> None:
        self.origin, _ = locate(endpoint)
        self._name = endpoint.id
        self._translate = library(endpoint, api_key)

    def __repr__(self) -> str:
        return f"<Adapted {self._name} at {self.origin}>"

    async def rehearse(self) -> None:
        """Makes litellm load what its first question needs, so that no client waits for that. The host is not asked;
        who gives credentials may be."""
        with suppress(Exception):
            async with asyncio.timeout(REHEARSAL):
                async for _ in self._translate(_REHEARSED, _ask_nobody):
                    pass

    def send(self, transport: Transport, body: bytes, receiver: Receiver, connect_timeout: float) -> AdaptedCall:
        """Ask for a completion; `body` is its JSON. As `Transport.send`."""
        return AdaptedCall(self._translate, self.origin, transport, body, receiver, connect_timeout)


async def _ask_nobody(_: Question) -> Answered:
    raise Refused("a rehearsal")
