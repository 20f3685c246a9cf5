"""What an app does with OpenAI's Python SDK, pointed at the gateway. Prints what it saw as one JSON object.

Run by test_openai.py and test_loops.py with the interpreter of the SDK's own environment: BASE_URL KEY NAME...
"""

import json
import sys

import openai
import pydantic

base_url, key = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)
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


def ask(content, by=client, model=MODEL, **more):
    return by.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **more)


def bill(usage):
    return {
        "prompt": usage.prompt_tokens,
        "cached": usage.prompt_tokens_details.cached_tokens,
        "completion": usage.completion_tokens,
        "reasoning": usage.completion_tokens_details.reasoning_tokens,
        "cost": usage.model_extra["cost"],
    }


def whole():
    answer = ask("Say hello")
    return {"content": answer.choices[0].message.content, "usage": bill(answer.usage)}


def streamed():
    text, usage, finish = "", None, None
    for chunk in ask("Say hello", stream=True):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return {"content": text, "finish_reason": finish, "cost": usage.model_extra["cost"]}


def loop():
    """Thinks and calls a tool, twice, and answers. What the model said goes back as it came, its thoughts with it."""
    messages = [{"role": "user", "content": "How is the weather?"}]
    calls, thoughts = [], []
    while True:
        with client.chat.completions.stream(
            model=MODEL, messages=messages, tools=[WEATHER], reasoning_effort="high"
        ) as stream:
            pieces = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        message = final.choices[0].message
        thoughts += [text] if (text := (message.model_extra or {}).get("reasoning_content")) else []
        if not message.tool_calls:
            return {"calls": calls, "thoughts": thoughts, "pieces": pieces, "usage": bill(final.usage)}
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in message.tool_calls:
            calls.append(json.loads(call.function.arguments)["city"])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})


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
        "400": error_of(lambda: client.responses.create(model=MODEL, input="Hi", background=True)),
        "404": error_of(lambda: client.responses.create(model="no-such-model", input="Hi")),
    }


def end_of(stream):
    """A host that breaks off in the middle: an exception, and not a short answer."""
    try:
        for _ in stream:
            pass
    except openai.APIError as error:
        return str(error)
    return None


def respond_broken():
    return end_of(client.responses.create(model=MODEL, input="Tell me about 300 words", stream=True))


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


def failures():
    stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
    return {
        "400": error_of(lambda: client.chat.completions.create(model=MODEL, messages=[])),
        "401": error_of(lambda: ask("Hi", stranger)),
        "404": error_of(lambda: ask("Hi", model="no/such-model")),
        "5xx": error_of(lambda: ask("Fail with 500")),
        "429": error_of(lambda: ask("Fail with 429")),
    }


def disconnect():
    """Takes one piece of a long answer and leaves."""
    stream = ask("Tell me about 900 words", stream=True)
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
    "loop": loop,
    "broken": lambda: end_of(ask("Break off", stream=True)),
    "failures": failures,
    "json_mode": json_mode,
    "disconnect": disconnect,
    "respond": respond,
    "respond_streamed": respond_streamed,
    "respond_tools": respond_tools,
    "respond_parsed": respond_parsed,
    "respond_errors": respond_errors,
    "respond_broken": respond_broken,
    "complete": complete,
}
print(json.dumps({name: wanted[name]() for name in sys.argv[3:]}))
