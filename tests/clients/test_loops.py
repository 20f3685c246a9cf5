"""Real clients against the gateway: each streams, thinks and calls a tool twice in its own loop, reads usage and cost,
and raises its own exceptions. Its base URL is swapped, nothing else.

Each client's script runs once, over the sink of `gateway serve`, because a start of some takes seconds. That both sinks
say the same is shown elsewhere.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.app import DIALECT, KEY, told
from tests.clients.sdks import command_of
from tests.clients.weather import ANSWER, CITIES, USED, WHOLE, WHOLE_USED, Weather, thought
from tests.support.gateway import in_process, write_policy
from tests.support.host import Json
from tests.support.valkey import running as valkey_running

OPENAI = {
    "400": ["BadRequestError", 400],
    "401": ["AuthenticationError", 401],
    "404": ["NotFoundError", 404],
    "429": ["RateLimitError", 429],
    "5xx": ["InternalServerError", 503],
}
ANTHROPIC = {
    "400": ["BadRequestError", 400, "invalid_request_error"],
    "401": ["AuthenticationError", 401, "authentication_error"],
    "404": ["NotFoundError", 404, "not_found_error"],
    "429": ["RateLimitError", 429, "rate_limit_error"],
    "5xx": ["ServiceUnavailableError", 503, "overloaded_error"],
}
OPENROUTER = {
    "401": ["UnauthorizedResponseError", 401],
    "404": ["NotFoundResponseError", 404],
    "429": ["TooManyRequestsResponseError", 429],
    "5xx": ["ServiceUnavailableResponseError", 503],
}
AI_SDK = {name: ["APICallError", status] for name, (_, status) in OPENROUTER.items()}  # told apart by their status
LANGCHAIN = {
    "401": ["OpenAIAuthenticationError", 401],
    "404": ["OpenAIModelNotFoundError", 404],
    "429": ["OpenAIRateLimitError", 429],
    "5xx": ["OpenAIAPIError", 503],
}
PYDANTIC_AI = {
    "401": ["ModelAuthenticationError", 401],
    "404": ["ModelNotFoundError", 404],
    "429": ["ModelRateLimitError", 429],
    "5xx": ["ModelUnavailableError", 503],
}
THOUGHTS = tuple(map(thought, CITIES))


@dataclass(frozen=True, slots=True)
class Client:
    """A client, and what it makes of what the gateway says."""

    sdk: str
    script: str
    surface: str
    errors: Json
    thoughts: tuple[str, ...] = THOUGHTS
    broken: str = "broke off"  # what it tells of a stream that breaks off
    untold: frozenset[str] = frozenset()  # what of usage it does not show


STREAMED = frozenset({"streamed cost"})
CLIENTS = [
    Client("openai-python", "openai_python.py", "/v1", OPENAI),
    Client("openai-node", "openai_node.mjs", "/v1", OPENAI, thoughts=("due", "due")),  # its helper keeps the last piece
    Client("anthropic", "anthropic_python.py", "", ANTHROPIC, untold=frozenset({"reasoning"})),
    Client("openrouter", "openrouter_python.py", "/api/v1", OPENROUTER, broken="error"),
    Client("openrouter-node", "openrouter_node.mjs", "/api/v1", OPENROUTER, broken="error"),
    Client("ai-sdk", "ai_sdk_node.mjs", "/api/v1", AI_SDK),
    Client("langchain", "langchain_python.py", "/v1", LANGCHAIN, thoughts=(), untold=STREAMED),
    Client("langchain", "langchain_python.py", "/api/v1", LANGCHAIN, thoughts=(), untold=STREAMED),
    Client("pydantic-ai", "pydantic_ai_python.py", "/v1", PYDANTIC_AI, untold=frozenset({"cost"})),
    Client("pydantic-ai", "pydantic_ai_python.py", "/api/v1", PYDANTIC_AI),
]


@dataclass(frozen=True, slots=True)
class Run:
    """What a client's script saw, and the requests that its loop became at the host."""

    client: Client
    seen: Json
    asked: list[Json]


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda client: f"{client.sdk} at {client.surface or '/'}")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    client: Client = request.param
    folder = tmp_path_factory.mktemp("loops")
    command = command_of(client.sdk, client.script)
    with valkey_running(folder / "valkey") as store:
        yield asyncio.run(_run(client, command, folder, store))


async def _run(client: Client, command: list[str], folder: Path, store: str) -> Run:
    settings: Json = {"environ": {"GATEWAY_API_KEYS": f"app:{KEY}"}, "endpoint": DIALECT, "default_policy": "once"}
    write_policy(folder / "policies", "once", attempts={"max": 1})  # errors are about their class, not about retries
    async with (
        Weather() as host,
        in_process(folder, "direct", {"own/fp8": host.url}, store=store, **settings) as gateway,
    ):
        seen = await told(*command, f"{gateway.url}{client.surface}", KEY, "whole", "loop", "broken", "failures")
        bodies = [received.json() for received in host.requests]
        return Run(client, seen, [body for body in bodies if body.get("tools")])


def test_a_streamed_answer_comes_in_pieces(run: Run) -> None:
    pieces = [piece for piece in run.seen["loop"]["pieces"] if piece]
    assert len(pieces) > 1
    assert "".join(pieces) == ANSWER


def test_a_tool_is_called_twice_with_thinking_on(run: Run) -> None:
    assert run.seen["loop"]["calls"] == list(CITIES)
    assert run.seen["loop"]["thoughts"] == list(run.client.thoughts)
    assert [body["chat_template_kwargs"] for body in run.asked] == [{"thinking": True}] * 3
    *_, last = run.asked
    results = [message for message in last["messages"] if message["role"] == "tool"]
    assert [message["tool_call_id"] for message in results] == [f"call_{city}" for city in CITIES]


def test_the_model_reads_its_thoughts_again_whatever_the_client_sends(run: Run) -> None:
    told = [[message.get("reasoning_content") for message in assistants(body)] for body in run.asked]
    assert told == [[], list(THOUGHTS[:1]), list(THOUGHTS)]


def assistants(body: Json) -> list[Json]:
    return [message for message in body["messages"] if message["role"] == "assistant"]


def test_usage_and_cost_are_read(run: Run) -> None:
    untold = run.client.untold
    assert run.seen["whole"]["content"] == WHOLE
    assert run.seen["whole"]["usage"] == bill(WHOLE_USED, 4.75e-06, untold)
    assert run.seen["loop"]["usage"] == bill(USED, 3e-05, untold | {"cost"} if "streamed cost" in untold else untold)


def bill(usage: Json, cost: float, untold: frozenset[str]) -> Json:
    told = {
        "prompt": usage["prompt_tokens"],
        "cached": usage["prompt_tokens_details"]["cached_tokens"],
        "completion": usage["completion_tokens"],
        "reasoning": usage["completion_tokens_details"]["reasoning_tokens"],
        "cost": cost,
    }
    return {name: None if name in untold else value for name, value in told.items()}


def test_errors_are_the_clients_own_exceptions(run: Run) -> None:
    assert run.seen["failures"] == run.client.errors


def test_a_stream_that_breaks_off_is_no_short_answer(run: Run) -> None:
    assert run.client.broken in (run.seen["broken"] or "")
