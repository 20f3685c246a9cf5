"""A chat completion request, parsed once. What routing relies on is checked here; hosts check the rest."""

import time
from collections.abc import Callable, Mapping
from math import inf
from random import Random
from typing import Any

import orjson

from gateway.config import Facts, Key, Rule, policy_by_rule
from gateway.document.nesting import DEEPEST, is_deeper
from gateway.document.values import read_json
from gateway.errors import BadRequest
from gateway.intake.auth import Keys
from gateway.intake.compression import compressed
from gateway.intake.lenient_body import reread
from gateway.intake.media import media, refuse_media
from gateway.intake.names import Named, Names, Wanted, served
from gateway.intake.options import (
    asked_models,
    read_headers,
    read_options,
    refuse_server_tools,
    whole,
)
from gateway.intake.prefix import known_by, read_prompt
from gateway.intake.provider import Preferences, sent_parameters
from gateway.intake.unpack import unpacked
from gateway.policy.policies import Policies
from gateway.route.filters import JSON_FORMATS
from gateway.route.fleet import Fleet
from gateway.types import Model, Policy, Request, Surface
from gateway.types.sink import Inbound
from gateway.upstream.dialects import thinking_requested

LARGEST_COUNT = 2**53  # sums of larger ones could not be written as JSON
LONGEST_ROLE = 64  # characters
MOST_CHOICES = 16  # `n`: each of them is held in memory, and paid
_EXPECTED: dict[str, tuple[type, str]] = {  # what routing relies on
    "stream": (bool, "true or false"),
    "stream_options": (dict, "an object"),
    "tools": (list, "a list of tools"),
    "max_tokens": (int, f"a whole number from 1 to {LARGEST_COUNT}, or absent for no limit"),
    "max_completion_tokens": (int, f"a whole number from 1 to {LARGEST_COUNT}, or absent for no limit"),
    "n": (int, f"a whole number from 1 to {MOST_CHOICES}"),
}
_COUNTS = frozenset({"max_completion_tokens", "max_output_tokens", "max_tokens", "n", "seed", "top_k", "top_logprobs"})
_NO_NEEDS: frozenset[str] = frozenset()
_NEEDY = frozenset({"tools", "logprobs", "response_format"})
PATIENCE = 1.0  # seconds for which OpenRouter's clients may be sent nothing: their SDKs give up after five
LARGEST_BODY = 16 << 20  # bytes
_TOOL_FIELDS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
_random = Random()
Translate = Callable[[dict[str, Any]], dict[str, Any]]


class Intake:
    """Turns inbound requests into the gateway's terms."""

    __slots__ = (
        "_default",
        "_fleets",
        "_keys",
        "_max_body",
        "_names",
        "_patience",
        "_policies",
        "_preferences",
        "_rules",
        "surface",
    )

    def __init__(
        self,
        keys: Keys,
        names: Names,
        policies: Policies,
        fleets: Mapping[str, Fleet],
        default_policy: str,
        rules: tuple[Rule, ...] = (),
        surface: Surface = "openai",
        max_body: int = LARGEST_BODY,
        patience: float = inf,
    ) -> None:
        """`surface` is whose wire shape the clients expect; `max_body` the bytes that a compressed body may become;
        `patience` the seconds for which clients may be sent nothing."""
        self._keys = keys
        self._names = names
        self._policies = policies
        self._fleets = fleets
        self._default = default_policy
        self._rules = rules
        self._preferences = Preferences()
        self.surface = surface
        self._max_body = max_body
        self._patience = patience

    def of(self, surface: Surface, names: Names | None = None) -> "Intake":
        """The same for another surface's clients, or with other names of models."""
        mine = (self._keys, names or self._names, self._policies, self._fleets, self._default, self._rules)
        return Intake(*mine, surface, self._max_body, PATIENCE if surface == "openrouter" else self._patience)

    def tenant(self, inbound: Inbound) -> str:
        """Who sent this. Raises Unauthorized."""
        return self._keys.of(inbound.headers).tenant

    def read(self, inbound: Inbound, translate: Translate | None = None, place: int = 0) -> tuple[Request, Policy]:
        """The request, and the policy that it runs under; `translate` makes a chat completion's body of another API's.
        Where the client names several models that are served here, `place` is which of them: up to `other_models`.

        Raises ClientError.
        """
        headers = inbound.headers
        key = self._keys.of(headers)
        body, raw = _read_body(self._unpacked(inbound), translate)
        options = read_options(body, headers)
        said = read_headers(headers)
        prompt = read_prompt(body)
        needs = _needs(body)
        tools, stream = "tools" in needs, bool(body.get("stream"))
        models = self._models(body)
        first = self._fleets[models[0].model.id].tokens
        facts = Facts(said.app, key.tenant, tools, first.count(prompt.size, tools), stream)
        wanted = Wanted(options.preset, said.policy, self._unnamed(key, facts))
        choices = served(models, wanted, self._policies.current)
        named, policy = choices[min(place, len(choices) - 1)]  # policies may have changed since the first was asked
        tokens, thinking = self._fleets[named.model.id].tokens, named.thinks(thinking_requested(body))
        created = int(time.time())
        if found := media(body["messages"]):
            needs |= self._taken(found, named, place >= len(choices) - 1)
        if body["messages"][-1].get("prefix"):
            needs |= _continues(body["messages"][-1])
        if body.get("provider") is not None:
            policy = self._narrowed(policy, body["provider"], named.model)
            needs |= sent_parameters(body) if body["provider"].get("require_parameters") else _NO_NEEDS
        request = Request(  # by position, because msgspec takes 4 us to match so many keywords
            new_id(created),
            body,
            named.model.id,
            policy.name,
            key.tenant,
            said.app,
            self.surface,
            stream,
            self.surface == "openrouter" or bool((body.get("stream_options") or {}).get("include_usage")),
            thinking,
            body.get("max_completion_tokens") or body.get("max_tokens"),
            facts.prompt_tokens if tokens is first else tokens.count(prompt.size, tools),
            prompt.size,
            tokens.doubt[tools],
            known_by(policy, key.tenant, options.session, prompt, thinking, tokens.bytes_per_token[tools]),
            tokens.count(prompt.opening, tools),
            needs,
            said.cache.mode,
            said.explain,
            raw,
            created,
            options.session,
            named.model.reasoning.history,
            options.hides_reasoning,
            said.cache.ttl,
            len(choices) - 1,
            said.tells_routing,
            patience=self._patience,
        )
        return compressed(request, policy, self._fleets[request.model]) if options.compress else request, policy

    def _unnamed(self, key: Key, facts: Facts) -> str:
        """The policy of a request that names none: by rule, by key, or the default."""
        return (self._rules and policy_by_rule(self._rules, facts)) or key.policy or self._default

    def _models(self, body: dict[str, Any]) -> list[Named]:
        """The models that may be asked; OpenRouter's clients need not name any."""
        asked = asked_models(body)
        if asked == [None] and self.surface == "openrouter" and self._names.default is not None:
            return [self._names.default]
        return self._names.known(asked)

    def _unpacked(self, inbound: Inbound) -> bytes:
        codings = inbound.headers.get(b"content-encoding")
        return inbound.body if codings is None else unpacked(inbound.body, codings, self._max_body)

    def _narrowed(self, policy: Policy, provider: object, model: Model) -> Policy:
        """The policy with the request's `provider` over it. Raises BadRequest, NoEndpoint."""
        in_use = self._fleets[model.id].states
        return self._preferences.applied(policy, provider, model, in_use, self._policies.current)

    def _taken(self, found: Mapping[str, str], named: Named, alone: bool) -> frozenset[str]:
        """What a prompt with these media needs. Raises BadRequest where no endpoint of the model takes them, and no
        other model is asked."""
        if alone:
            refuse_media(found, self._fleets[named.model.id].states.values(), named.model.id)
        return frozenset(found)


def new_id(created: int) -> str:
    """`gen-<unix time>-<20 hex digits>`, as OpenRouter's clients know it."""
    return f"gen-{created}-{_random.getrandbits(80):020x}"


def _json_object(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """A JSON object, and the bytes that it was parsed from."""
    try:
        body: object = read_json(raw)
    except orjson.JSONDecodeError as error:
        body, raw = reread(raw, error)
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body, raw


def _read_body(raw: bytes, translate: Translate | None) -> tuple[dict[str, Any], bytes]:
    """The body of a chat completion, checked, and the bytes that say the same; none where it had to be changed."""
    body, raw = _json_object(raw)
    if floats := [name for name in _COUNTS & body.keys() if type(body[name]) is float]:
        body, raw = body | {name: number for name in floats if (number := whole(body[name])) is not None}, b""
    if translate is not None:
        body, raw = translate(body), b""
    if not (body.get("tools") or _TOOL_FIELDS.isdisjoint(body)):  # new hosts refuse an empty list, and what uses it
        body, raw = {name: value for name, value in body.items() if name not in _TOOL_FIELDS}, b""
    _check(body)
    return body, raw


def _is_deep(body: dict[str, Any]) -> bool:
    """Whether anything is nested too deeply. Messages that are mere texts, the usual ones, need no look inside."""
    parts = [part for name, part in body.items() if name != "messages" and (type(part) is dict or type(part) is list)]
    parts += [message for message in body["messages"] if len(message) > 2 or type(message.get("content")) is not str]
    return bool(parts) and is_deeper(parts)


def _check(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list of at least one message", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not _is_role(message.get("role")):
            raise BadRequest(f"`messages[{index}]` must be an object with a `role`", param=f"messages[{index}]")
    for name in _EXPECTED.keys() & body.keys():
        kind, wanted = _EXPECTED[name]
        value: Any = body[name]
        if value is not None and (not isinstance(value, kind) or (kind is int and _is_no_count(value))):
            raise BadRequest(f"`{name}` must be {wanted}", param=name)
    if (body.get("n") or 1) > MOST_CHOICES:
        raise BadRequest(f"`n` must be {_EXPECTED['n'][1]}", param="n")
    if _is_deep(body):
        raise BadRequest(f"the body is nested deeper than {DEEPEST} levels")


def _is_role(role: object) -> bool:
    return isinstance(role, str) and len(role) <= LONGEST_ROLE


def _is_no_count(value: object) -> bool:
    """JSON's true is an int to Python."""
    return isinstance(value, bool) or (isinstance(value, int) and not 1 <= value <= LARGEST_COUNT)


def _needs(body: dict[str, Any]) -> frozenset[str]:
    """Capabilities without which the answer would be wrong."""
    if _NEEDY.isdisjoint(body):
        return _NO_NEEDS
    needs = set()
    if body.get("tools"):
        refuse_server_tools(body["tools"])
        needs.add("tools")
    if body.get("logprobs"):
        needs.add("logprobs")
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") in JSON_FORMATS:
        needs.add(response_format["type"])
    return frozenset(needs)


def _continues(last: dict[str, Any]) -> frozenset[str]:
    """What continuing a last message that has a `prefix` needs: DeepSeek's prefix completion."""
    if last["prefix"] is not True or last["role"] != "assistant":
        raise BadRequest("`prefix` must be true, on a last message from the assistant", param="messages")
    return frozenset({"prefix"})
