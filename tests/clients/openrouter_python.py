"""What an app does with OpenRouter's Python SDK, pointed at the gateway. Prints what it saw as one JSON object.

Run by test_loops.py with the interpreter of the SDK's own environment: BASE_URL KEY NAME...
"""

import json
import sys

from openrouter import OpenRouter, errors

base_url, key = sys.argv[1:3]
client = OpenRouter(server_url=base_url, api_key=key, timeout_ms=30_000)
MODEL = "deepseek/deepseek-v3.2"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(content, by=client, model=MODEL, **more):
    return by.chat.send(model=model, messages=[{"role": "user", "content": content}], retries=None, **more)


def bill(usage):
    return {
        "prompt": usage.prompt_tokens,
        "cached": usage.prompt_tokens_details.cached_tokens,
        "completion": usage.completion_tokens,
        "reasoning": usage.completion_tokens_details.reasoning_tokens,
        "cost": usage.cost,
    }


def whole():
    answer = ask("Say hello")
    return {"content": answer.choices[0].message.content, "usage": bill(answer.usage)}


def turn(messages):
    """The assistant's message, put together from a stream, and the pieces of its text."""
    message, pieces, usage = {"role": "assistant", "content": "", "reasoning": ""}, [], None
    details, calls = [], {}
    with client.chat.send(
        model=MODEL, messages=messages, tools=[WEATHER], reasoning={"effort": "high"}, stream=True
    ) as events:
        for event in events:
            usage = event.usage or usage
            for delta in (choice.delta for choice in event.choices):
                pieces += [delta.content] if delta.content else []
                message["reasoning"] += delta.reasoning or ""
                details += delta.reasoning_details or []
                for piece in delta.tool_calls or []:
                    call = calls.setdefault(piece.index, {"id": piece.id, "type": "function", "function": {}})
                    call["function"]["name"] = call["function"].get("name") or piece.function.name
                    call["function"]["arguments"] = call["function"].get("arguments", "") + piece.function.arguments
    message |= {"content": "".join(pieces), "reasoning_details": details}
    return message | ({"tool_calls": list(calls.values())} if calls else {}), pieces, usage


def loop():
    messages = [{"role": "user", "content": "How is the weather?"}]
    calls, thoughts = [], []
    while True:
        message, pieces, usage = turn(messages)
        thoughts += [message["reasoning"]] if message["reasoning"] else []
        if "tool_calls" not in message:
            return {"calls": calls, "thoughts": thoughts, "pieces": pieces, "usage": bill(usage)}
        messages.append(message)
        for call in message["tool_calls"]:
            calls.append(json.loads(call["function"]["arguments"])["city"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": "sunny"})


def broken():
    with ask("Break off", stream=True) as events:
        return [choice.finish_reason for event in events for choice in event.choices][-1]


def error_of(call):
    try:
        call()
    except errors.OpenRouterError as error:
        return [type(error).__name__, error.status_code]
    return None


def failures():
    stranger = OpenRouter(server_url=base_url, api_key="wrong")
    return {
        "401": error_of(lambda: ask("Hi", stranger)),
        "404": error_of(lambda: ask("Hi", model="no/such-model")),
        "5xx": error_of(lambda: ask("Fail with 500")),
        "429": error_of(lambda: ask("Fail with 429")),
    }


wanted = {"whole": whole, "loop": loop, "broken": broken, "failures": failures}
print(json.dumps({name: wanted[name]() for name in sys.argv[3:]}))
