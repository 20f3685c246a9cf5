"""Converts a host's chunks and completions to OpenRouter's format, which `/api/v1` returns.

Every chunk has the exchange's id and creation time, the model and the provider's display name. Reasoning text is in
`reasoning`, `reasoning_details` and `reasoning_content`; `native_finish_reason` is the host's own finish reason. Fields
that strict clients reject as null are absent. Fields of the host that OpenRouter does not have are dropped.
"""

from typing import Any

from gateway.types import PICO, Endpoint, Request, Usage, reasoning_text
from gateway.upstream.shape import OPENAI
from gateway.upstream.usage import cost as price_of
from gateway.upstream.usage import usage_object

Json = dict[str, Any]
CHUNK = "chat.completion.chunk"


def provider_name(endpoint: Endpoint) -> str:
    """The value of `provider` in responses."""
    return endpoint.name or endpoint.provider


class OpenRouterShape:
    """The `Shape` of one attempt's answer."""

    __slots__ = ("_head", "_hour", "_price")
    hidden = OPENAI.hidden

    def __init__(self, request: Request, endpoint: Endpoint, wall_time: float) -> None:
        self._head = {
            "id": request.id,
            "object": CHUNK,
            "created": request.created,
            "model": request.model,
            "provider": provider_name(endpoint),
        }
        self._price = endpoint.price
        self._hour = int(wall_time // 3600) % 24

    def __repr__(self) -> str:
        return f"<OpenRouter {self._head['id']} {self._head['provider']}>"

    def chunk(self, payload: Json) -> Json:
        choices = [self._chunk_choice(choice) for choice in payload.get("choices") or ()]
        return {**self._head, "choices": choices}

    def end(self, choice: Json, reason: str) -> None:
        if not isinstance(choice.get("native_finish_reason"), str):  # an aggregator already passes its host's reason
            choice["native_finish_reason"] = choice["finish_reason"]
        choice["finish_reason"] = reason

    def completion(self, payload: Json, usage: Json) -> Json:
        choices = [self._whole_choice(choice) for choice in payload.get("choices") or ()]
        head = {**self._head, "object": "chat.completion", "system_fingerprint": payload.get("system_fingerprint")}
        return {**head, "choices": choices, "usage": usage}

    def usage(self, usage: Usage, cost: int) -> Json:
        """OpenRouter's `usage`. `cost` is in picodollars; the prompt and completion costs add up to it."""
        prompt = Usage(usage.prompt, usage.cached, 0, 0)
        read = min(cost, price_of(prompt, self._price, self._hour)) if self._price else 0
        details = {
            "upstream_inference_cost": cost / PICO,
            "upstream_inference_prompt_cost": read / PICO,
            "upstream_inference_completions_cost": (cost - read) / PICO,
        }
        return {**usage_object(usage, cost), "is_byok": False, "cost_details": details}

    def _chunk_choice(self, choice: Json) -> Json:
        converted = {
            "index": choice["index"],
            "delta": self._content(choice.get("delta") or {}),
            "finish_reason": choice.get("finish_reason"),
            "native_finish_reason": choice.get("native_finish_reason"),
        }
        return _with_logprobs(converted, choice)

    def _whole_choice(self, choice: Json) -> Json:
        message = choice.get("message") or {}
        converted = {
            "index": choice["index"],
            "finish_reason": choice.get("finish_reason"),
            "native_finish_reason": choice.get("native_finish_reason"),
            "message": {"refusal": message.get("refusal"), "reasoning": None, **self._content(message, whole=True)},
        }
        return _with_logprobs(converted, choice)

    def _content(self, message: Json, *, whole: bool = False) -> Json:
        """A delta or, with `whole`, a message. Missing content is null in a message or with a tool call, else ""."""
        calls = _calls(message.get("tool_calls"), numbered=not whole)
        content = message.get("content")
        if content is None and not (calls or whole):
            content = ""
        converted: Json = {"role": "assistant", "content": content}
        if text := reasoning_text(message):
            converted.update(reasoning=text, reasoning_content=text, reasoning_details=_details(message, text))
        if calls:
            converted["tool_calls"] = calls
        if message.get("refusal"):
            converted["refusal"] = message["refusal"]
        return converted


def _with_logprobs(converted: Json, choice: Json) -> Json:
    return converted if choice.get("logprobs") is None else {**converted, "logprobs": choice["logprobs"]}


def _details(message: Json, text: str) -> list[Json]:
    """The host's own `reasoning_details`, which may be signed; else one made of the text, as for open-weight models."""
    details = message.get("reasoning_details")
    if isinstance(details, list) and details and all(isinstance(one, dict) for one in details):
        return details
    return [{"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}]


def _calls(calls: Any, *, numbered: bool) -> list[Json]:
    """Tool calls without null fields; with `type` on the first piece of a call and, if `numbered`, with `index`."""
    if not isinstance(calls, list):
        return []
    converted = []
    for place, call in enumerate(one for one in calls if isinstance(one, dict)):
        clean = _without_nulls(call)
        if isinstance(function := call.get("function"), dict):
            clean["function"] = _without_nulls(function)
        if numbered:
            clean.setdefault("index", place)
        if clean.get("id"):
            clean.setdefault("type", "function")
        converted.append(clean)
    return converted


def _without_nulls(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}
