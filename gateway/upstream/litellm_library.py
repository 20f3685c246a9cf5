"""litellm itself, restricted: no retries, no callbacks, no downloads, and no connection to a host other than the
gateway's own.

Importing this module imports litellm, so only `litellm_adapter.load` imports it.
"""

import logging
import os
import warnings
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any

# Read when litellm is imported. The price map and other tables come with the package; no .env file is read.
os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_RUST": "False",  # its Rust engine would open connections of its own
}

import httpx
import litellm
import openai
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from gateway import __version__
from gateway.types import Endpoint
from gateway.upstream.litellm_answer import Body
from gateway.upstream.litellm_call import Send, Translate
from gateway.upstream.litellm_request import HostRequest

FOREVER = 86_400.0  # seconds: effectively none; the exchange's own timeouts end a call
_senders: ContextVar[Send] = ContextVar("_senders")

litellm.telemetry = False
litellm.suppress_debug_info = True
litellm.disable_streaming_logging = True
litellm.callbacks = litellm.success_callback = litellm.failure_callback = []
litellm.num_retries = 0
litellm.drop_params = False  # unsupported parameters are the endpoint's dialect to declare, not litellm's to drop
# Emitted when a call is cancelled while litellm prepares it in a thread.
warnings.filterwarnings("ignore", r"coroutine '\w+\.a\w+' was never awaited", RuntimeWarning)
logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)  # the gateway logs failures itself


class Pipe(httpx.AsyncBaseTransport):
    """In place of httpx's connections: hands the HTTP request to the call that is being made."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        headers, stream = await _senders.get()(HostRequest(request.method, str(request.url), request.headers.raw, body))
        return httpx.Response(200, headers=headers, stream=Stream(stream))


class Stream(httpx.AsyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._body:
            yield data


def translator(endpoint: Endpoint, api_key: str | None) -> Translate:
    """Returns the function that translates requests to this endpoint."""
    fixed = _fixed(endpoint, api_key)

    async def translate(request: Mapping[str, Any], send: Send) -> AsyncIterator[dict[str, Any]]:
        _senders.set(send)
        answer = await litellm.acompletion(**request, **fixed)
        if not request.get("stream"):
            yield answer.model_dump()
            return
        async for chunk in answer:
            yield chunk.model_dump()

    return translate


def _fixed(endpoint: Endpoint, api_key: str | None) -> dict[str, Any]:
    """The arguments that do not depend on the request."""
    model, options = endpoint.model or "", endpoint.adapter_options
    family = model.partition("/")[0]
    agent = {"User-Agent": f"llm-routing-gateway/{__version__}"}
    http = httpx.AsyncClient(transport=Pipe(), headers=agent, timeout=None, trust_env=False)
    handler = AsyncHTTPHandler(transport=Pipe())
    handler.client = http
    fixed: dict[str, Any] = {
        "model": model,
        "api_base": endpoint.base_url,
        "api_key": api_key,
        "client": handler,
        "max_retries": 0,
        "num_retries": 0,
        "timeout": FOREVER,
        "no-log": True,
        "_skip_mcp_handler": True,  # else litellm imports it for every request with tools
    }
    if family == "bedrock":
        return fixed | {"aws_region_name": options.region or "us-east-1"}  # a bearer key is not signed for a region
    if family == "azure":
        client = openai.AsyncAzureOpenAI(
            api_key=api_key,
            api_version=options.api_version,
            azure_endpoint=endpoint.base_url or "",
            http_client=http,
            max_retries=0,
        )
        return fixed | {"client": client, "api_version": options.api_version}
    vertex = {"vertex_project": options.project, "vertex_location": options.location, "vertex_credentials": api_key}
    return fixed | vertex | {"api_key": None}
