"""A host's JSON in the shape of `/api/v1`: OpenRouter's.

Every chunk has the exchange's id and time, the model and the provider's display name; reasoning text stands in
`reasoning`, `reasoning_details` and `reasoning_content`; the host's own finish reason is beside the canonical one.
What strict clients refuse as null is absent. Fields of the host that OpenRouter's answers do not have are left out.
"""

from typing import Any

from gateway.types import PICO, Endpoint, Request, Usage, reasoning_text
from gateway.upstream.shape import OPENAI, Hiding, OpenAIShape, Shape
from gateway.upstream.usage import cost as price_of
from gateway.upstream.usage import usage_object

Json = dict[str, Any]
CHUNK = "chat.completion.chunk"


def shape_of(request: Request, endpoint: Endpoint, unix: float) -> Shape:
    """The shape of this endpoint's answer to `request`; `unix` is when it is sent."""
    openrouter = request.surface == "openrouter"
    shape: Shape = OpenRouterShape(request, endpoint, unix) if openrouter else OpenAIShape(request.model)
    return Hiding(shape) if request.hides_reasoning else shape


def provider_name(endpoint: Endpoint) -> str:
    """What clients read as `provider`."""
    return endpoint.name or endpoint.provider


class OpenRouterShape:
    """The `Shape` of one attempt's answer."""

    __slots__ = ("_head", "_hour", "_price")
    hidden = OPENAI.hidden

    def __init__(self, request: Request, endpoint: Endpoint, unix: float) -> None:
        self._head = {
            "id": request.id,
            "object": CHUNK,
            "created": request.created,
            "model": request.model,
            "provider": provider_name(endpoint),
        }
        self._price = endpoint.price
        self._hour = int(unix // 3600) % 24

    def __repr__(self) -> str:
        return f"<OpenRouter {self._head['id']} {self._head['provider']}>"

    def chunk(self, payload: Json) -> Json:
        choices = [self._chunk_choice(choice) for choice in payload.get("choices") or ()]
        return {**self._head, "choices": choices}

    def end(self, choice: Json, reason: str) -> None:
        if not isinstance(choice.get("native_finish_reason"), str):  # an aggregator's host has its own
            choice["native_finish_reason"] = choice["finish_reason"]
        choice["finish_reason"] = reason

    def completion(self, payload: Json, usage: Json) -> Json:
        choices = [self._whole_choice(choice) for choice in payload.get("choices") or ()]
        head = {**self._head, "object": "chat.completion", "system_fingerprint": payload.get("system_fingerprint")}
        return {**head, "choices": choices, "usage": usage}

    def usage(self, usage: Usage, cost: int) -> Json:
        """The parts of `cost` add up to it."""
        prompt = Usage(usage.prompt, usage.cached, 0, 0)
        read = min(cost, price_of(prompt, self._price, self._hour)) if self._price else 0
        details = {
            "upstream_inference_cost": cost / PICO,
            "upstream_inference_prompt_cost": read / PICO,
            "upstream_inference_completions_cost": (cost - read) / PICO,
        }
        return {**usage_object(usage, cost), "is_byok": False, "cost_details": details}

    def _chunk_choice(self, choice: Json) -> Json:
        told = {
            "index": choice["index"],
            "delta": self._said(choice.get("delta") or {}),
            "finish_reason": choice.get("finish_reason"),
            "native_finish_reason": choice.get("native_finish_reason"),
        }
        return _with_logprobs(told, choice)

    def _whole_choice(self, choice: Json) -> Json:
        said = choice.get("message") or {}
        told = {
            "index": choice["index"],
            "finish_reason": choice.get("finish_reason"),
            "native_finish_reason": choice.get("native_finish_reason"),
            "message": {"refusal": said.get("refusal"), "reasoning": None, **self._said(said, whole=True)},
        }
        return _with_logprobs(told, choice)

    def _said(self, said: Json, *, whole: bool = False) -> Json:
        """A delta or a message. Beside a tool call, silence is null; elsewhere in a stream it is an empty text."""
        calls = _calls(said.get("tool_calls"), numbered=not whole)
        content = said.get("content")
        if content is None and not (calls or whole):
            content = ""
        told: Json = {"role": "assistant", "content": content}
        if text := reasoning_text(said):
            told.update(reasoning=text, reasoning_content=text, reasoning_details=_details(said, text))
        if calls:
            told["tool_calls"] = calls
        if said.get("refusal"):
            told["refusal"] = said["refusal"]
        return told


def _with_logprobs(told: Json, choice: Json) -> Json:
    return told if choice.get("logprobs") is None else {**told, "logprobs": choice["logprobs"]}


def _details(said: Json, text: str) -> list[Json]:
    """The host's own, which may be signed; or the text, as hosts of open weights are told of."""
    details = said.get("reasoning_details")
    if isinstance(details, list) and details and all(isinstance(one, dict) for one in details):
        return details
    return [{"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}]


def _calls(calls: Any, *, numbered: bool) -> list[Json]:
    """Without nulls; with the type where a call begins, and in a stream with its number."""
    if not isinstance(calls, list):
        return []
    told = []
    for place, call in enumerate(one for one in calls if isinstance(one, dict)):
        clean = _without_nulls(call)
        if isinstance(function := call.get("function"), dict):
            clean["function"] = _without_nulls(function)
        if numbered:
            clean.setdefault("index", place)
        if clean.get("id"):
            clean.setdefault("type", "function")
        told.append(clean)
    return told


def _without_nulls(said: Json) -> Json:
    return {name: value for name, value in said.items() if value is not None}
