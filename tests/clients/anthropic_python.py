"""What an agent does with Anthropic's Python SDK, pointed at the gateway. Prints what it saw as one JSON object.

Run by test_anthropic.py and test_loops.py with the interpreter of the SDK's own environment: BASE_URL KEY NAME...
"""

import json
import sys

import anthropic

base_url, key = sys.argv[1:3]
client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=60)
MODEL = "deepseek/deepseek-v3.2"
THINKING = {"type": "enabled", "budget_tokens": 1024}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(content="Say hello", by=client, **more):
    fields = {"model": MODEL, "max_tokens": 2000, "messages": [{"role": "user", "content": content}], **more}
    return by.messages.create(**fields)


def bill(usage):
    return {
        "prompt": usage.input_tokens + usage.cache_read_input_tokens,
        "cached": usage.cache_read_input_tokens,
        "completion": usage.output_tokens,
        "reasoning": None,
        "cost": usage.model_extra.get("cost"),
    }


def seen(message):
    return {
        "blocks": [block.type for block in message.content],
        "content": "".join(block.text for block in message.content if block.type == "text"),
        "stop_reason": message.stop_reason,
        "usage": bill(message.usage),
        "named": message.id.removeprefix("msg_"),
    }


def whole():
    message = ask()
    return {**seen(message), "request_id": message._request_id}


def streamed(**more):
    """Through the SDK's helper, which puts the events together; `heard` is what came piece by piece."""
    messages = [{"role": "user", "content": "Say hello"}]
    with client.messages.stream(model=MODEL, max_tokens=2000, messages=messages, **more) as stream:
        heard = "".join(stream.text_stream)
        return {**seen(stream.get_final_message()), "heard": heard}


def loop():
    """The model thinks and calls a tool twice, the app answers, the model goes on. All of it streamed."""
    messages = [{"role": "user", "content": "How is the weather?"}]
    calls, thoughts = [], []
    while True:
        with client.messages.stream(
            model=MODEL, max_tokens=2000, messages=messages, tools=[WEATHER], thinking=THINKING
        ) as stream:
            events = list(stream)
            message = stream.get_final_message()
        thoughts += [block.thinking for block in message.content if block.type == "thinking" and block.signature]
        asked = [block for block in message.content if block.type == "tool_use"]
        if not asked:
            pieces = [event.text for event in events if event.type == "text"]
            (end,) = [event for event in events if event.type == "message_delta"]
            return {"calls": calls, "thoughts": thoughts, "pieces": pieces, "usage": bill(end.usage)}
        calls += [call.input["city"] for call in asked]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in asked]
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]


def count():
    messages = [{"role": "user", "content": "Say hello"}]
    return client.messages.count_tokens(model=MODEL, messages=messages, tools=[WEATHER]).input_tokens


def error_of(call):
    try:
        call()
    except anthropic.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.type]
    return None


def failures():
    stranger = anthropic.Anthropic(base_url=base_url, api_key="wrong", max_retries=0)
    return {
        "400": error_of(lambda: ask(messages=[])),
        "401": error_of(lambda: ask(by=stranger)),
        "404": error_of(lambda: ask(model="gpt-5")),
        "5xx": error_of(lambda: ask("Fail with 500", stream=True)),
        "429": error_of(lambda: ask("Fail with 429")),
    }


def broken():
    """An error in the stream, after its first words."""
    try:
        for _ in ask("Break off", stream=True):
            pass
    except anthropic.APIStatusError as error:
        return f"{error.type}: {error.api_message}"
    return None


def models():
    listed = [(model.id, model.display_name) for model in client.models.list()]
    one = client.models.retrieve(MODEL)
    missing = error_of(lambda: client.models.retrieve("gpt-5"))
    return {"listed": listed, "one": [one.id, one.created_at.year], "missing": missing}


wanted = {
    "whole": whole,
    "models": models,
    "streamed": streamed,
    "thinking": lambda: streamed(thinking=THINKING),
    "loop": loop,
    "count": count,
    "failures": failures,
    "broken": broken,
}
print(json.dumps({name: wanted[name]() for name in sys.argv[3:]}))
