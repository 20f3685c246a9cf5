"""Builds the request body for one host. `address.py` builds the request line and the headers.

    client's body ── drop gateway and thinking fields ──> host's model id ──> old reasoning ──> thinking switch ──> JSON

Hosts differ in data only (`types.Dialect`), and this is the only module that reads it. The client's body is never
changed. Where only the model and added fields differ, the client's bytes are sent unparsed. Keys keep the client's
order: hosts cache prompts by prefix, and a moved key makes another prefix.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, get_args

import orjson

from gateway.document.object_field import object_field
from gateway.errors import BadRequest
from gateway.types import REASONING_FIELDS, Dialect, Endpoint, Request, gives_less, read_again, reasoning_text
from gateway.types.endpoint import Effort, EffortField, ThinkingSwitch
from gateway.upstream.splice import spliced

PSEUDONYM_CHARS = 32
_DEFAULT_EFFORT = "medium"
_EFFORTS: Sequence[str] = get_args(Effort)  # from the least to the greatest
_THINKING_FIELDS = frozenset({"enable_thinking", "include_reasoning", "reasoning", "reasoning_effort", "thinking"})
THINKING_REQUEST_FIELDS = _THINKING_FIELDS | {"chat_template_kwargs"}
_TEMPLATE_SWITCHES = frozenset({"thinking", "enable_thinking"})  # keys of chat_template_kwargs
_KINDS = {"enabled": True, "disabled": False}  # values of `thinking.type`
_GATEWAY_FIELDS = frozenset(
    {"metadata", "models", "plugins", "preset", "provider", "route", "session_id", "trace", "transforms", "usage"}
    | {"debug", "service_tier"}
)
_STREAMED = frozenset({"stream", "stream_options"})
_IDENTITIES = ("user", "safety_identifier")  # identify the client's user: hosts get a hash
_NOT_AS_SENT = THINKING_REQUEST_FIELDS | _GATEWAY_FIELDS | {"max_completion_tokens", *_IDENTITIES}
_NOT_FORWARDED = _THINKING_FIELDS | _GATEWAY_FIELDS | _STREAMED | {"max_completion_tokens"}
_WITH_USAGE = {"include_usage": True}
_STREAMS = {"stream": True, "stream_options": _WITH_USAGE}
_REASONING_FIELDS = frozenset(REASONING_FIELDS)
_TEXT_MESSAGE = 2  # number of fields of a message with only a role and a content


class Patch(NamedTuple):
    """The fields that switch thinking on or off at a host."""

    on: Mapping[str, Any]
    off: Mapping[str, Any]


PATCHES: Mapping[ThinkingSwitch, Patch] = {
    "chat_template_args.enable_thinking": Patch(
        {"chat_template_args": {"enable_thinking": True}}, {"chat_template_args": {"enable_thinking": False}}
    ),
    "chat_template_kwargs.enable_thinking": Patch(
        {"chat_template_kwargs": {"enable_thinking": True}}, {"chat_template_kwargs": {"enable_thinking": False}}
    ),
    # The host documents `enable_thinking`, but the model's own chat template reads `thinking`: both are sent.
    "chat_template_kwargs.enable_thinking|chat_template_kwargs.thinking": Patch(
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
    "thinking.type": Patch({"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
    "unknown": Patch({}, {}),
}


def outgoing(request: Request, endpoint: Endpoint, streams: bool = False) -> bytes:
    """Returns the JSON body of `request` for `endpoint`. Its `messages` are a list of objects, already checked.

    `streams`: ask the host for a stream even where the client wants a whole answer.
    """
    streams = streams or request.stream
    return _as_sent(request, endpoint, streams) or _rebuilt(request, endpoint, streams)


def _as_sent(request: Request, endpoint: Endpoint, streams: bool) -> bytes | None:
    """The client's own bytes with the model replaced and fields added; None where more must change. This is the usual
    case."""
    body, dialect = request.body, endpoint.dialect
    if not _NOT_AS_SENT.isdisjoint(body) or not body.keys().isdisjoint(dialect.drop):
        return None
    if gives_less(endpoint, request):
        return None
    added = _switch(request, dialect)
    if request.stream:
        if body.get("stream") is not True or body.get("stream_options", _WITH_USAGE) != _WITH_USAGE:
            return None
        added = {**added, "stream_options": _WITH_USAGE} if "stream_options" not in body else added
    elif streams:
        added = {**added, **_STREAMS}
    elif not _STREAMED.isdisjoint(body):
        return None
    if not body.keys().isdisjoint(added) or _messages(request) is not body.get("messages", ()):
        return None
    return spliced(request.raw, body, _model(request, endpoint), added)


def _rebuilt(request: Request, endpoint: Endpoint, streams: bool) -> bytes:
    client, dialect = request.body, endpoint.dialect
    body = {name: value for name, value in client.items() if name not in _NOT_FORWARDED}
    body["model"] = _model(request, endpoint)
    if "messages" in body:
        body["messages"] = _messages(request)
    if client.get("max_completion_tokens") is not None:  # every host knows `max_tokens`; not all know the newer name
        body["max_tokens"] = client["max_completion_tokens"]
    if gives_less(endpoint, request):
        body["max_tokens"] = endpoint.max_output
    for name in _IDENTITIES:
        if body.get(name) is not None:
            body[name] = pseudonym(request.tenant, body[name])
    if streams:
        body |= _STREAMS
    _drop_template_switches(body)
    for name, value in _switch(request, dialect).items():
        own = body.get(name)
        body[name] = {**own, **value} if isinstance(own, dict) else value
    for name in dialect.drop:
        body.pop(name, None)
    return orjson.dumps(body)


def pseudonym(tenant: str, identity: Any) -> str:
    """A stable pseudonym for a user of this tenant: letters and digits, not reversible."""
    raw = identity.encode(errors="replace") if isinstance(identity, str) else orjson.dumps(identity)
    return sha256(b"%b\0%b" % (tenant.encode(errors="replace"), raw)).hexdigest()[:PSEUDONYM_CHARS]


def thinking_requested(body: Mapping[str, Any]) -> bool | None:
    """Whether the client requests thinking, in any host's syntax; None where no field says so.

    Raises BadRequest, with `param`, when a field has the wrong type.
    """
    if THINKING_REQUEST_FIELDS.isdisjoint(body):
        return None
    template = object_field(body, "chat_template_kwargs")
    switches = [
        _reasoning_requested(body),
        _KINDS.get(str(object_field(body, "thinking").get("type"))),
        body.get("enable_thinking"),
        template.get("thinking"),
        template.get("enable_thinking"),
    ]
    return True if any(one is True for one in switches) else False if any(one is False for one in switches) else None


def relays(endpoint: Endpoint, request: Request) -> bool:
    """Whether the host's stream chunks already have the client's shape, so that their bytes may pass unchanged."""
    dialect = endpoint.dialect
    readable = not request.thinking or dialect.reasoning_field == "reasoning_content"
    return request.surface == "openai" and readable and not dialect.null_usage and not request.hides_reasoning


def _model(request: Request, endpoint: Endpoint) -> str | None:
    if request.thinking and endpoint.dialect.thinking == "model":
        return endpoint.dialect.thinking_model or endpoint.model
    return endpoint.model


def _drop_template_switches(body: dict[str, Any]) -> None:
    """Removes the client's switches from `chat_template_kwargs`: the host has its own switch."""
    template = body.get("chat_template_kwargs")
    if isinstance(template, dict) and not _TEMPLATE_SWITCHES.isdisjoint(template):
        body["chat_template_kwargs"] = {name: template[name] for name in template if name not in _TEMPLATE_SWITCHES}
        if not body["chat_template_kwargs"]:
            del body["chat_template_kwargs"]


def _switch(request: Request, dialect: Dialect) -> Mapping[str, Any]:
    """The fields that switch thinking on or off. A host where thinking is off by default needs no switch for off."""
    if not request.thinking:
        return {} if dialect.thinking_default == "off" else PATCHES[dialect.thinking].off
    patch, requested = PATCHES[dialect.thinking].on, _effort(request.body)
    effort = _nearest(None if requested == "none" else requested, dialect.efforts)
    if dialect.thinking == "reasoning_effort":
        return {"reasoning_effort": effort or _nearest(_DEFAULT_EFFORT, dialect.efforts)}
    if dialect.thinking == "reasoning.effort":
        return {"reasoning": {"effort": effort or _nearest(_DEFAULT_EFFORT, dialect.efforts)}}
    return patch if effort is None else _with_effort(patch, dialect.effort, effort)


def _with_effort(patch: Mapping[str, Any], field: EffortField, effort: str) -> Mapping[str, Any]:
    if field == "reasoning_effort":
        return {**patch, "reasoning_effort": effort}
    if field == "chat_template_kwargs.reasoning_effort":
        return {**patch, "chat_template_kwargs": {**patch.get("chat_template_kwargs", {}), "reasoning_effort": effort}}
    return patch


def _nearest(effort: str | None, known: Sequence[str]) -> str | None:
    """The supported effort nearest to `effort`; the greater one of two that are equally near. An unknown effort is
    passed to the host."""
    if effort is None or effort in known or effort not in _EFFORTS or not known:
        return effort
    rank = _EFFORTS.index(effort)
    return min(known, key=lambda one: (abs(_EFFORTS.index(one) - rank), -_EFFORTS.index(one)))


def _reasoning_requested(body: Mapping[str, Any]) -> bool | None:
    """Reads OpenRouter's fields: an explicit `enabled` wins, then an effort, then a token budget or the older
    `include_reasoning`."""
    reasoning, effort = object_field(body, "reasoning"), _effort(body)
    if reasoning.get("enabled") is not None:
        return reasoning["enabled"] is True
    if effort is not None:
        return effort != "none"
    return True if reasoning.get("max_tokens") or body.get("include_reasoning") is True else None


def _effort(body: Mapping[str, Any]) -> str | None:
    """The effort in `reasoning.effort`, or else in its short form `reasoning_effort`; None where both are empty."""
    nested, short = object_field(body, "reasoning").get("effort"), body.get("reasoning_effort")
    for param, value in (("reasoning.effort", nested), ("reasoning_effort", short)):
        if value is not None and not isinstance(value, str):
            raise BadRequest(f'{param} must be a string, such as "medium"', param=param)
    return nested or short or None


def _messages(request: Request) -> Sequence[dict[str, Any]]:
    """The messages as the host takes them: the client's own list object where nothing changes."""
    messages: Sequence[dict[str, Any]] = request.body.get("messages", ())
    if not [one for one in messages if len(one) != _TEXT_MESSAGE or "content" not in one or one["role"] == "developer"]:
        return messages
    again = set(read_again(request.body, request.reasoning_history))
    changed = [_message(one, at in again) if _differs(one) else one for at, one in enumerate(messages)]
    return messages if all(new is old for new, old in zip(changed, messages, strict=True)) else changed


def _differs(message: dict[str, Any]) -> bool:
    return message.get("role") == "developer" or not _REASONING_FIELDS.isdisjoint(message)


def _message(message: dict[str, Any], read_again: bool) -> dict[str, Any]:
    """One message in the host's form. Reasoning moves to `reasoning_content` where the model reads it again, and is
    removed elsewhere."""
    sent = {name: value for name, value in message.items() if name not in _REASONING_FIELDS}
    if sent.get("role") == "developer":  # OpenAI's name; the hosts know only `system`
        sent["role"] = "system"
    text = reasoning_text(message) if read_again else None
    if text is not None:  # empty reasoning counts: a strict host requires the field
        sent["reasoning_content"] = text
    return message if sent == message else sent
