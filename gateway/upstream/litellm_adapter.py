"""Endpoints without an OpenAI-compatible API (Bedrock Converse, Azure, Vertex): litellm translates, our transport
sends.

    OpenAI JSON ──> litellm ──send──> Transport ──> host
    Receiver <── OpenAI JSON or SSE <── litellm <── Body <── 200 ──┘
             <── status, headers and body unchanged <── any other status

litellm never opens a connection to a host and never reads an error. It turns one completion request into one HTTP
request, and the bytes of the answer into chunks. Its inventions are undone: `litellm_answer.py` reads the host's own
finish reason from the same bytes, and an answer without a finish reason keeps none. litellm is imported when a worker
starts that has such an endpoint; `litellm_library.py` is the only module that imports it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec

from gateway.errors import ConfigError
from gateway.types import Endpoint
from gateway.upstream.litellm_call import AdaptedCall, Answered, Translate
from gateway.upstream.litellm_request import HostRequest, Refused
from gateway.upstream.transport.address import locate
from gateway.upstream.transport.connection import Receiver
from gateway.upstream.transport.pool import Egress
from gateway.upstream.transport.transport import Transport

EXTRA = "llm-routing-gateway[vertex]"
Library = Callable[[Endpoint, str | None], Translate]
WARM_UP_TIMEOUT = 10.0  # seconds that a worker's start waits for the warm-up, which may fetch credentials
_TOOL = {"type": "function", "function": {"name": "none", "parameters": {"type": "object", "properties": {}}}}
_WARM_UP_REQUEST = {"messages": [{"role": "user", "content": "Hi"}], "tools": [_TOOL], "stream": True}


def lacking(endpoint: Endpoint) -> str | None:
    """The package that must be installed before this endpoint can be used, as an error message; None when nothing is
    missing."""
    if endpoint.adapter == "none" or not (endpoint.model or "").startswith("vertex_ai/") or _has_google_auth():
        return None
    return f"endpoint {endpoint.id}: Vertex needs the package google-auth, which is not here; install {EXTRA}"


def _has_google_auth() -> bool:
    try:
        return find_spec("google.auth") is not None
    except ModuleNotFoundError:  # there is no `google` at all
        return False


def load(endpoint: Endpoint) -> Library:
    """Imports litellm, which takes seconds. Raises ConfigError when it cannot be imported."""
    if problem := lacking(endpoint):
        raise ConfigError(problem)
    try:
        from gateway.upstream.litellm_library import translator
    except ImportError as error:
        raise ConfigError(
            f"endpoint {endpoint.id}: litellm cannot be imported ({error}); install the gateway with its dependencies"
        ) from None
    return translator


class Adapted:
    """An endpoint behind litellm. Takes and returns OpenAI's JSON. Made once per endpoint."""

    __slots__ = ("_name", "_translate", "_transport", "origin")

    def __init__(
        self,
        endpoint: Endpoint,
        api_key: str | None,
        library: Library,
        transport: Transport,
        egress: Egress | None = None,
    ) -> None:
        self._transport = transport
        self.origin, _ = locate(endpoint, egress)
        self._name = endpoint.id
        self._translate = library(endpoint, api_key)

    def __repr__(self) -> str:
        return f"<Adapted {self._name} at {self.origin}>"

    async def warm_up(self) -> None:
        """Has litellm load what its first request needs, so that no client waits for it. No request is sent to the
        host; a credentials service may get one."""
        with suppress(Exception):
            async with asyncio.timeout(WARM_UP_TIMEOUT):
                async for _ in self._translate(_WARM_UP_REQUEST, _send_nothing):
                    pass

    def send(self, body: bytes, receiver: Receiver, connect_timeout: float, headers: bytes = b"") -> AdaptedCall:
        """`headers` are added to litellm's: a signature covers only the headers that it names."""
        return AdaptedCall(self._translate, self.origin, self._transport, body, receiver, connect_timeout, headers)


async def _send_nothing(_: HostRequest) -> Answered:
    raise Refused("warm-up: no request is sent")
