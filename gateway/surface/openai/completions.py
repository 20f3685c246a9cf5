"""`POST /v1/completions`: OpenAI's older API, over chat completions.

    prompt ──> one user message          text ──> the answer's content

The model is a chat model: hosts put the prompt into its chat template, and the answer is a reply to it, not its
continuation.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import BadRequest
from gateway.surface.answer import KEEP_ALIVE
from gateway.upstream import sse

REFUSED: Mapping[str, str] = {  # a value that asks for something -> what would be right
    "best_of": "answers are not ranked here: ask for several with `n`",
    "echo": "the prompt is not repeated: put it before the text yourself",
    "logprobs": "log probabilities come with chat completions only: leave it out",
    "messages": "here the text goes into `prompt`; messages are for chat completions",
    "suffix": "no host of this model fills in the middle: leave it out",
    "tools": "tools are for chat completions",
}
_HARMLESS = {"best_of": 1}
_REASONING = ("reasoning", "reasoning_content")


def chat_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the chat completion. Raises BadRequest."""
    for name in REFUSED.keys() & body.keys():
        if body[name] and body[name] != _HARMLESS.get(name):
            raise BadRequest(f"`{name}`: {REFUSED[name]}", param=name)
    chat = {name: value for name, value in body.items() if name not in REFUSED and name != "prompt"}
    return {**chat, "messages": [{"role": "user", "content": _prompt(body.get("prompt"))}]}


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    raise BadRequest("`prompt` must be a text, or a list of one text; tokens are not taken", param="prompt")


class Text:
    """A `Translation` into a text completion."""

    __slots__ = ()

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        return _told(completion, "message")

    def error(self, status: int, error: dict[str, Any]) -> dict[str, Any]:
        """Errors have one shape in all of OpenAI's APIs."""
        return error

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        return sse.event(orjson.dumps(_told(chunk, "delta")))

    def waiting(self) -> bytes:
        return KEEP_ALIVE

    def done(self) -> bytes:
        return sse.event(sse.DONE)


def _told(payload: dict[str, Any], part: str) -> dict[str, Any]:
    choices = [_choice(choice, choice.get(part) or {}) for choice in payload.get("choices") or ()]
    return {**payload, "object": "text_completion", "choices": choices}


def _choice(choice: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """One choice; its reasoning stands beside the text, by the names that chat completions give it."""
    told = {
        "text": said.get("content") or "",
        "index": choice.get("index", 0),
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
    }
    if "native_finish_reason" in choice:
        told["native_finish_reason"] = choice["native_finish_reason"]
    return told | {name: said[name] for name in _REASONING if said.get(name)}
