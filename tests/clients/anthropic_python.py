"""What an agent does with Anthropic's Python SDK, pointed at the gateway. Prints what it saw as one JSON object.

Run by test_anthropic.py with the interpreter of the SDK's own environment: BASE_URL KEY NAME...
"""

import json
import sys

import anthropic

base_url, key = sys.argv[1:3]
client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=30)
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


def seen(message):
    usage = message.usage
    return {
        "blocks": [block.type for block in message.content],
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "stop_reason": message.stop_reason,
        "usage": [usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens],
        "cost": usage.model_extra.get("cost"),
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


def tools():
    """The model thinks and calls a tool twice, the app answers, the model goes on. All of it streamed."""
    messages = [{"role": "user", "content": "Use get_weather for Paris"}]
    turns = []
    for choice in ("any", "any", "none"):
        with client.messages.stream(
            model=MODEL,
            max_tokens=2000,
            messages=messages,
            tools=[WEATHER],
            tool_choice={"type": choice},
            thinking=THINKING,
        ) as stream:
            message = stream.get_final_message()
        calls = [block for block in message.content if block.type == "tool_use"]
        signed = all(block.signature and block.thinking for block in message.content if block.type == "thinking")
        turns.append({**seen(message), "calls": [[call.name, call.input] for call in calls], "signed": signed})
        messages.append({"role": "assistant", "content": message.content})
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
        messages.append({"role": "user", "content": results})
    return turns


def count():
    messages = [{"role": "user", "content": "Say hello"}]
    return client.messages.count_tokens(model=MODEL, messages=messages, tools=[WEATHER]).input_tokens


def error_of(call):
    try:
        call()
    except anthropic.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.type]
    return None


def errors():
    stranger = anthropic.Anthropic(base_url=base_url, api_key="wrong", max_retries=0)
    return {
        "400": error_of(lambda: ask(messages=[])),
        "401": error_of(lambda: ask(by=stranger)),
        "404": error_of(lambda: ask(model="claude-opus-5")),
    }


def failed():
    return [error_of(ask), error_of(streamed)]


def broken():
    """An error in the stream, after its first words."""
    heard = []
    try:
        heard.extend(event.type for event in ask("Tell me about 300 words", stream=True))
    except anthropic.APIStatusError as error:
        return {"heard": heard, "error": error.type, "message": error.api_message}
    return {"heard": heard}


def models():
    listed = [(model.id, model.display_name) for model in client.models.list()]
    one = client.models.retrieve(MODEL)
    missing = error_of(lambda: client.models.retrieve("claude-opus-5"))
    return {"listed": listed, "one": [one.id, one.created_at.year], "missing": missing}


wanted = {
    "whole": whole,
    "models": models,
    "streamed": streamed,
    "thinking": lambda: streamed(thinking=THINKING),
    "tools": tools,
    "count": count,
    "errors": errors,
    "failed": failed,
    "broken": broken,
}
print(json.dumps({name: wanted[name]() for name in sys.argv[3:]}))
