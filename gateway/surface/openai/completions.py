"""`POST /v1/completions`: OpenAI's legacy text completions, served as chat completions.

    request: prompt ──> one user message          response: message content ──> text

The model is a chat model: hosts render the prompt with its chat template, so the text replies to the prompt and does
not continue it.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import BadRequest
from gateway.surface.answer import KEEP_ALIVE
from gateway.upstream import sse

REFUSED: Mapping[str, str] = {  # field -> why it is rejected, and what to send instead
    "best_of": "is not supported; use `n` for several answers",
    "echo": "is not supported; prepend the prompt to the text yourself",
    "logprobs": "is supported for chat completions only; leave it out",
    "messages": "is for chat completions; send the text as `prompt`",
    "suffix": "is not supported, because no host of this model fills in the middle; leave it out",
    "tools": "is for chat completions; leave it out",
}
_HARMLESS = {"best_of": 1}
_REASONING = ("reasoning", "reasoning_content")


def chat_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the chat completion. Raises BadRequest."""
    for name in REFUSED.keys() & body.keys():
        if body[name] and body[name] != _HARMLESS.get(name):
            raise BadRequest(f"`{name}` {REFUSED[name]}", param=name)
    chat = {name: value for name, value in body.items() if name not in REFUSED and name != "prompt"}
    return {**chat, "messages": [{"role": "user", "content": _prompt(body.get("prompt"))}]}


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    raise BadRequest(
        "`prompt` must be a string or a list of one string; token arrays are not supported", param="prompt"
    )


class Text:
    """The `Translation` into a text completion."""

    __slots__ = ()

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        return _text_completion(completion, "message")

    def error(self, status: int, error: dict[str, Any]) -> dict[str, Any]:
        """All of OpenAI's APIs share one error format."""
        return error

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        return sse.event(orjson.dumps(_text_completion(chunk, "delta")))

    def waiting(self) -> bytes:
        return KEEP_ALIVE

    def done(self) -> bytes:
        return sse.event(sse.DONE)


def _text_completion(payload: dict[str, Any], part: str) -> dict[str, Any]:
    choices = [_choice(choice, choice.get(part) or {}) for choice in payload.get("choices") or ()]
    return {**payload, "object": "text_completion", "choices": choices}


def _choice(choice: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """One choice. Reasoning is in the same fields as in chat completions."""
    text_choice = {
        "text": message.get("content") or "",
        "index": choice.get("index", 0),
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
    }
    if "native_finish_reason" in choice:
        text_choice["native_finish_reason"] = choice["native_finish_reason"]
    return text_choice | {name: message[name] for name in _REASONING if message.get(name)}
