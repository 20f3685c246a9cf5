"""How one request is said to one host: its body. Where it goes is told by `address.py`.

    client's body ──gateway and thinking fields out──> host's model id ──> replay rule ──> thinking switch ──> JSON

What differs between hosts is data (`types.Dialect`); this module is the only reader of it. The client's body is never
changed, and where nothing but the model and added fields differ its bytes go out as they came. Keys keep the client's
order: hosts cache prompts by prefix, and a moved key is another prefix.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from gateway.errors import BadRequest
from gateway.types import REASONING_FIELDS, Endpoint, Request, reasoning_text
from gateway.types.endpoint import ThinkingSwitch
from gateway.upstream.splice import spliced

_DEFAULT_EFFORT = "medium"
_NEAREST = {"max": "high", "xhigh": "high", "minimal": "low"}  # efforts that hosts of this model do not know
_THINKING_FIELDS = frozenset({"enable_thinking", "include_reasoning", "reasoning", "reasoning_effort", "thinking"})
_ASKS_THINKING = _THINKING_FIELDS | {"chat_template_kwargs"}
_TEMPLATE_SWITCHES = frozenset({"thinking", "enable_thinking"})  # inside chat_template_kwargs
_GATEWAY_FIELDS = frozenset(
    {"metadata", "models", "plugins", "preset", "provider", "route", "session_id", "trace", "transforms", "usage"}
    | {"debug", "service_tier"}
)
_STREAMED = frozenset({"stream", "stream_options"})
_NOT_AS_SENT = _ASKS_THINKING | _GATEWAY_FIELDS | {"max_completion_tokens"}
_NOT_FORWARDED = _THINKING_FIELDS | _GATEWAY_FIELDS | _STREAMED | {"max_completion_tokens"}
_WITH_USAGE = {"include_usage": True}
_REASONING_FIELDS = frozenset(REASONING_FIELDS)


class Patch(NamedTuple):
    """The fields that switch thinking on and off at a host."""

    on: Mapping[str, Any]
    off: Mapping[str, Any]


PATCHES: Mapping[ThinkingSwitch, Patch] = {
    "chat_template_args.enable_thinking": Patch(
        {"chat_template_args": {"enable_thinking": True}}, {"chat_template_args": {"enable_thinking": False}}
    ),
    # The host documents `enable_thinking`, but the model's own chat template reads `thinking`: both are sent.
    "chat_template_kwargs.enable_thinking": Patch(
        {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    ),
    "chat_template_kwargs.thinking": Patch(
        {"chat_template_kwargs": {"thinking": True}}, {"chat_template_kwargs": {"thinking": False}}
    ),
    "enable_thinking": Patch({"enable_thinking": True}, {"enable_thinking": False}),
    "enable_thinking|reasoning_effort": Patch({"enable_thinking": True}, {"reasoning_effort": "none"}),
    "model": Patch({}, {}),  # another model id, see `_model`
    "reasoning.effort": Patch({"reasoning": {"effort": _DEFAULT_EFFORT}}, {"reasoning": {"enabled": False}}),
    "reasoning.enabled": Patch({"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}),
    "reasoning_effort": Patch({"reasoning_effort": _DEFAULT_EFFORT}, {"reasoning_effort": "none"}),
    # The host takes lower efforts, too, and does not think at them.
    "reasoning_effort.high": Patch({"reasoning_effort": "high"}, {"reasoning_effort": "none"}),
    "thinking.type": Patch({"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
    "unknown": Patch({}, {}),
}


def outgoing(request: Request, endpoint: Endpoint) -> bytes:
    """The JSON body of `request` as `endpoint` takes it. Its `messages` are a list of objects, already checked."""
    return _as_sent(request, endpoint) or _rebuilt(request, endpoint)


def _as_sent(request: Request, endpoint: Endpoint) -> bytes | None:
    """The client's own bytes where only the model and added fields differ, which is the usual request."""
    body, dialect = request.body, endpoint.dialect
    if request.thinking or not _NOT_AS_SENT.isdisjoint(body) or not body.keys().isdisjoint(dialect.drop):
        return None
    added: Mapping[str, Any] = {} if dialect.thinking_default == "off" else PATCHES[dialect.thinking].off
    if request.stream:
        if body.get("stream") is not True or body.get("stream_options", _WITH_USAGE) != _WITH_USAGE:
            return None
        added = {**added, "stream_options": _WITH_USAGE} if "stream_options" not in body else added
    elif not _STREAMED.isdisjoint(body):
        return None
    if not body.keys().isdisjoint(added) or any(map(_differs, body.get("messages", ()))):
        return None
    return spliced(request.raw, body, _model(request, endpoint), added)


def _rebuilt(request: Request, endpoint: Endpoint) -> bytes:
    client, dialect = request.body, endpoint.dialect
    body = {name: value for name, value in client.items() if name not in _NOT_FORWARDED}
    body["model"] = _model(request, endpoint)
    if "messages" in body:
        body["messages"] = _messages(body["messages"])
    if client.get("max_completion_tokens") is not None:  # only `max_tokens` is known to every host
        body["max_tokens"] = client["max_completion_tokens"]
    if request.stream:
        body["stream"] = True
        body["stream_options"] = _WITH_USAGE
    _switch_thinking(body, request, endpoint)
    for name in dialect.drop:
        body.pop(name, None)
    return orjson.dumps(body)


def thinking_asked(body: Mapping[str, Any]) -> bool:
    """Whether the client asks for thinking, in any host's way of asking.

    Raises BadRequest, with `param`, when a field has the wrong type or two fields contradict each other.
    """
    if _ASKS_THINKING.isdisjoint(body):
        return False
    template = _object(body, "chat_template_kwargs")
    return (
        _reasoning_asked(body)
        or _object(body, "thinking").get("type") == "enabled"
        or body.get("enable_thinking") is True
        or template.get("thinking") is True
        or template.get("enable_thinking") is True
    )


def relays(endpoint: Endpoint, request: Request) -> bool:
    """Whether the host's streamed chunks already are what this client expects, so that bytes may pass unchanged."""
    dialect = endpoint.dialect
    readable = not request.thinking or dialect.reasoning_field == "reasoning_content"
    return request.surface == "openai" and readable and not dialect.null_usage and not request.hides_reasoning


def _model(request: Request, endpoint: Endpoint) -> str | None:
    if request.thinking and endpoint.dialect.thinking == "model":
        return endpoint.dialect.thinking_model or endpoint.model
    return endpoint.model


def _switch_thinking(body: dict[str, Any], request: Request, endpoint: Endpoint) -> None:
    """Replace the client's template switches by the host's own. A host that is off by default needs no off switch."""
    template = body.get("chat_template_kwargs")
    if isinstance(template, dict) and not _TEMPLATE_SWITCHES.isdisjoint(template):
        body["chat_template_kwargs"] = {name: template[name] for name in template if name not in _TEMPLATE_SWITCHES}
        if not body["chat_template_kwargs"]:
            del body["chat_template_kwargs"]
    dialect = endpoint.dialect
    if request.thinking:
        _apply(body, _on_patch(dialect.thinking, request.body))
    elif dialect.thinking_default != "off":
        _apply(body, PATCHES[dialect.thinking].off)


def _on_patch(switch: ThinkingSwitch, body: Mapping[str, Any]) -> Mapping[str, Any]:
    effort = _effort(body)
    effort = _NEAREST.get(effort or "", effort)
    if effort in (None, "none"):
        return PATCHES[switch].on
    if switch == "reasoning_effort":
        return {"reasoning_effort": effort}
    if switch == "reasoning.effort":
        return {"reasoning": {"effort": effort}}
    return PATCHES[switch].on


def _apply(body: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for name, value in patch.items():
        own = body.get(name)
        body[name] = {**own, **value} if isinstance(own, dict) else value


def _reasoning_asked(body: Mapping[str, Any]) -> bool:
    """OpenRouter's fields: an explicit `enabled` wins, then an effort, then a budget or the older flag."""
    reasoning, effort = _object(body, "reasoning"), _effort(body)
    if reasoning.get("enabled") is not None:
        return reasoning["enabled"] is True
    if effort is not None:
        return effort != "none"
    return bool(reasoning.get("max_tokens")) or body.get("include_reasoning") is True


def _effort(body: Mapping[str, Any]) -> str | None:
    """The effort in `reasoning.effort` or its short form `reasoning_effort`, which must not differ."""
    nested, short = _object(body, "reasoning").get("effort"), body.get("reasoning_effort")
    for param, value in (("reasoning.effort", nested), ("reasoning_effort", short)):
        if value is not None and not isinstance(value, str):
            raise BadRequest(f'{param} must be a string, such as "medium"', param=param)
    if nested is not None and short is not None and nested != short:
        raise BadRequest("reasoning_effort and reasoning.effort differ: send one of them", param="reasoning_effort")
    return short if nested is None else nested


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadRequest(f"{name} must be an object", param=name)
    return value


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages as hosts take them. What has not to change is the client's own."""
    if not any(map(_differs, messages)):
        return messages
    last_user = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    return [_message(one, at > last_user) if _differs(one) else one for at, one in enumerate(messages)]


def _differs(message: dict[str, Any]) -> bool:
    return message.get("role") == "developer" or not _REASONING_FIELDS.isdisjoint(message)


def _message(message: dict[str, Any], in_turn: bool) -> dict[str, Any]:
    """One message without the client's reasoning fields, except where the model must read its own thoughts again.

    That is between a tool call and the next user message (`in_turn`). Elsewhere the model ignores them.
    """
    said = {name: value for name, value in message.items() if name not in _REASONING_FIELDS}
    if said.get("role") == "developer":  # OpenAI's name; the hosts know `system` only
        said["role"] = "system"
    text = reasoning_text(message) if in_turn and said.get("tool_calls") else None
    if text is not None:  # empty reasoning counts: a strict host wants the field
        said["reasoning_content"] = text
    return said
