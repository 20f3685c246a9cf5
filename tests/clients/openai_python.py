"""What an app does with OpenAI's Python SDK, pointed at the gateway. Prints what it saw as one JSON object.

Run by test_openai.py with the interpreter of the SDK's own environment: BASE_URL KEY.
"""

import json
import sys

import openai
import pydantic

base_url, key = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)
MODEL = "deepseek/deepseek-v3.2"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def whole():
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Say hello"}])
    usage = answer.usage
    return {
        "content": answer.choices[0].message.content,
        "finish_reason": answer.choices[0].finish_reason,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.prompt_tokens_details.cached_tokens,
        "reasoning_tokens": usage.completion_tokens_details.reasoning_tokens,
        "cost": usage.model_extra["cost"],
    }


def streamed(**more):
    text, reasoning, usage, finish = "", "", None, None
    messages = [{"role": "user", "content": "Say hello"}]
    for chunk in client.chat.completions.create(model=MODEL, messages=messages, stream=True, **more):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
            finish = choice.finish_reason or finish
    return {"content": text, "reasoning": reasoning, "finish_reason": finish, "cost": usage.model_extra["cost"]}


def tools():
    """Two turns: the model calls a tool, the app answers, the model goes on. Streamed, through the SDK's own helper."""
    messages = [{"role": "user", "content": "Use get_weather for Paris"}]
    calls = []
    for _ in range(2):
        with client.chat.completions.stream(
            model=MODEL, messages=messages, tools=[WEATHER], tool_choice="required"
        ) as stream:
            message = stream.get_final_completion().choices[0].message
        call = message.tool_calls[0]
        calls.append([call.function.name, json.loads(call.function.arguments)])
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"})
    last = client.chat.completions.create(model=MODEL, messages=messages)
    return {"calls": calls, "content": last.choices[0].message.content}


def json_mode():
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Answer as json"}],
        response_format={"type": "json_object"},
    )
    return json.loads(answer.choices[0].message.content)


def respond():
    answer = client.responses.create(model=MODEL, input="Say hello", instructions="Be brief")
    details = answer.usage.input_tokens_details
    return {
        "content": answer.output_text,
        "status": answer.status,
        "total_tokens": answer.usage.total_tokens,
        "cached_tokens": details.cached_tokens,
        "cost": answer.usage.model_extra["cost"],
    }


def respond_streamed():
    text, kinds = "", []
    with client.responses.stream(model=MODEL, input="Say hello", instructions="Be brief") as stream:
        for event in stream:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        final = stream.get_final_response()
    return {"content": text, "final": final.output_text, "kinds": kinds, "cost": final.usage.model_extra["cost"]}


def respond_tools():
    """Thinks and calls a tool, twice, and answers. What the model said goes back as it came."""
    tool = {"type": "function", **WEATHER["function"], "strict": True}
    said = [{"role": "user", "content": "Use get_weather for Paris"}]
    calls, thoughts = [], []
    for _ in range(2):
        with client.responses.stream(
            model=MODEL, input=said, tools=[tool], tool_choice="required", reasoning={"effort": "high"}, store=False
        ) as stream:
            final = stream.get_final_response()
        said += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in final.output]
        thoughts += [item.content[0].text for item in final.output if item.type == "reasoning"]
        for call in final.output:
            if call.type == "function_call":
                calls.append([call.name, call.parsed_arguments])
                said.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 21 degrees"})
    last = client.responses.create(model=MODEL, input=said, tools=[tool], tool_choice="none")
    return {"calls": calls, "thoughts": thoughts, "content": last.output_text}


class City(pydantic.BaseModel):
    name: str
    people: int


def respond_parsed():
    answer = client.responses.parse(model=MODEL, input="Which city?", text_format=City)
    return answer.output_parsed.model_dump()


def respond_errors():
    return {
        "400": error_of(lambda: client.responses.create(model=MODEL, input="Hi", previous_response_id="resp_1")),
        "404": error_of(lambda: client.responses.create(model="no-such-model", input="Hi")),
    }


def broken():
    """A host that breaks off in the middle: an exception, and not a short answer."""
    try:
        for _ in client.responses.create(model=MODEL, input="Tell me about 300 words", stream=True):
            pass
    except openai.APIError as error:
        return str(error)
    return None


def complete():
    whole = client.completions.create(model=MODEL, prompt="Once upon a time")
    chunks = client.completions.create(model=MODEL, prompt="Once upon a time", stream=True)
    streamed = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    return {"content": whole.choices[0].text, "streamed": streamed, "total_tokens": whole.usage.total_tokens}


def error_of(call):
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code]
    return None


def ask(model=MODEL, messages=None, by=client):
    return by.chat.completions.create(model=model, messages=messages or [{"role": "user", "content": "Hi"}])


def errors():
    stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
    return {
        "400": error_of(lambda: client.chat.completions.create(model=MODEL, messages=[])),
        "401": error_of(lambda: ask(by=stranger)),
        "404": error_of(lambda: ask(model="no-such-model")),
    }


def rate_limited():
    return error_of(ask)


def disconnect():
    """Takes one piece of a long answer and leaves."""
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Tell me about 900 words"}], stream=True
    )
    first = next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    stream.close()
    return {"first": first.choices[0].delta.content}


def models():
    listed = [model.id for model in client.models.list()]
    missing = error_of(lambda: client.models.retrieve("no-such-model"))
    return {"listed": listed, "one": client.models.retrieve(MODEL).id, "missing": missing}


wanted = {
    "whole": whole,
    "models": models,
    "streamed": streamed,
    "thinking": lambda: streamed(reasoning_effort="high"),
    "tools": tools,
    "json_mode": json_mode,
    "errors": errors,
    "rate_limited": rate_limited,
    "disconnect": disconnect,
    "respond": respond,
    "respond_streamed": respond_streamed,
    "respond_tools": respond_tools,
    "respond_parsed": respond_parsed,
    "respond_errors": respond_errors,
    "broken": broken,
    "complete": complete,
}
print(json.dumps({name: wanted[name]() for name in sys.argv[3:]}))
