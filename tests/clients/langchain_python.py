"""What an app does with LangChain's `ChatOpenAI`, pointed at the gateway. Prints what it saw as one JSON object.

Run by test_loops.py with the interpreter of its own environment: BASE_URL KEY NAME...
"""

import json
import sys

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

base_url, key = sys.argv[1:3]


def chat(**more):
    settings = {"model": "deepseek/deepseek-v3.2", "api_key": key, "max_retries": 0, "timeout": 30, **more}
    return ChatOpenAI(base_url=base_url, stream_usage=True, **settings)


@tool
def get_weather(city: str) -> str:
    """The weather in a city"""
    return "sunny"


def bill(message):
    usage = message.usage_metadata
    told = message.response_metadata.get("token_usage") or {}
    return {
        "prompt": usage["input_tokens"],
        "cached": usage["input_token_details"]["cache_read"],
        "completion": usage["output_tokens"],
        "reasoning": usage["output_token_details"]["reasoning"],
        "cost": told.get("cost"),
    }


def whole():
    message = chat().invoke("Say hello")
    return {"content": message.content, "usage": bill(message)}


def loop():
    model = chat(reasoning_effort="high").bind_tools([get_weather])
    messages = [HumanMessage("How is the weather?")]
    calls = []
    while True:
        message, pieces = None, []
        for chunk in model.stream(messages):
            message = chunk if message is None else message + chunk
            pieces += [chunk.content] if chunk.content else []
        if not message.tool_calls:
            return {"calls": calls, "thoughts": [], "pieces": pieces, "usage": bill(message)}
        messages.append(message)
        for call in message.tool_calls:
            calls.append(call["args"]["city"])
            messages.append(ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]))


def error_of(prompt, **more):
    try:
        chat(**more).invoke(prompt)
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code]
    return None


def broken():
    try:
        for _ in chat().stream("Break off"):
            pass
    except openai.APIError as error:
        return str(error)
    return None


def failures():
    return {
        "401": error_of("Hi", api_key="wrong"),
        "404": error_of("Hi", model="no/such-model"),
        "5xx": error_of("Fail with 500"),
        "429": error_of("Fail with 429"),
    }


wanted = {"whole": whole, "loop": loop, "broken": broken, "failures": failures}
print(json.dumps({name: wanted[name]() for name in sys.argv[3:]}))
