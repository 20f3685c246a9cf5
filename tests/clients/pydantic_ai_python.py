"""What an agent does with Pydantic AI, pointed at the gateway. Prints what it saw as one JSON object.

Run by test_loops.py with the interpreter of its own environment: BASE_URL KEY NAME...
Under /api/v1 its model for OpenRouter is used, else the one for OpenAI.
"""

import asyncio
import json
import sys

import openai
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta, ThinkingPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider

base_url, key = sys.argv[1:3]
MODEL = "deepseek/deepseek-v3.2"
OPENROUTER = "/api/" in base_url
THINKS = {"thinking": "high"} if OPENROUTER else {"openai_reasoning_effort": "high"}


def model_of(key=key, name=MODEL):
    client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)
    if OPENROUTER:
        return OpenRouterModel(name, provider=OpenRouterProvider(openai_client=client))
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))


agent = Agent(model_of(), retries=0)


def bill(response):
    usage, details = response.usage, response.provider_details or {}
    return {
        "prompt": usage.input_tokens,
        "cached": usage.cache_read_tokens,
        "completion": usage.output_tokens,
        "reasoning": usage.details.get("reasoning_tokens"),
        "cost": details.get("cost"),
    }


async def whole():
    result = await agent.run("Say hello")
    return {"content": result.output, "usage": bill(result.all_messages()[-1])}


async def loop():
    """The framework's own loop: it calls the tool and asks again, until the model answers."""
    calls, pieces = [], []
    traveller = Agent(model_of(), model_settings=THINKS)

    @traveller.tool_plain
    def get_weather(city: str) -> str:
        calls.append(city)
        return "sunny"

    async with traveller.iter("How is the weather?") as run:
        async for node in run:
            if Agent.is_model_request_node(node):
                async with node.stream(run.ctx) as stream:
                    pieces += [text async for event in stream if (text := text_of(event))]
    answers = [message for message in run.all_messages() if message.kind == "response"]
    thoughts = [part.content for message in answers for part in message.parts if isinstance(part, ThinkingPart)]
    return {"calls": calls, "thoughts": thoughts, "pieces": pieces, "usage": bill(answers[-1])}


def text_of(event):
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


async def broken():
    try:
        async with agent.run_stream("Break off") as result:
            await result.get_output()
    except ModelAPIError as error:
        return str(error)
    return None


async def error_of(prompt, model=None):
    try:
        await agent.run(prompt, model=model)
    except ModelAPIError as error:
        return [type(error).__name__, error.status_code]
    return None


async def failures():
    return {
        "401": await error_of("Hi", model_of(key="wrong")),
        "404": await error_of("Hi", model_of(name="no/such-model")),
        "5xx": await error_of("Fail with 500"),
        "429": await error_of("Fail with 429"),
    }


async def main():
    wanted = {"whole": whole, "loop": loop, "broken": broken, "failures": failures}
    print(json.dumps({name: await wanted[name]() for name in sys.argv[3:]}))


asyncio.run(main())
