"""Answers on stdin, as `specs.py` gives them, held against the strict types of OpenAI's SDK."""

from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from types_held import hold

KINDS = {
    ("/chat/completions", False): ChatCompletion,
    ("/chat/completions", True): ChatCompletionChunk,
    ("/completions", False): Completion,
    ("/completions", True): Completion,
    ("/responses", False): Response,
    ("/responses", True): ResponseStreamEvent,
    ("/responses/{response_id}", False): Response,
    ("/responses/{response_id}/input_items", False): ResponseItemList,
    ("/models/{model}", False): Model,
}


def kind(answer):
    _, base, path, _, status, event, payload = answer
    if base != "/v1" or status != 200 or (event and payload.get("choices") and payload.get("error")):
        return None  # the SDK raises on an error before it reads the rest
    return KINDS.get((path, event))


hold(kind)
