"""From the bytes of a request to a `Request` and its policy.

key ─> body (`body`) ─> options (`options`) ─> `model_and_policy` ─> `provider` (`provider`) ─> Request
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any

import msgspec

from gateway.config import Facts, Key, Rule, policy_by_rule
from gateway.errors import BadRequest
from gateway.intake.auth import Keys
from gateway.intake.body import NO_NEEDS, ParsedBody, Translate, capabilities, read_body
from gateway.intake.content_encoding import unpacked
from gateway.intake.media import media, refuse_media
from gateway.intake.middle_out import compressed
from gateway.intake.model_and_policy import Names, PolicyCandidates, ResolvedModel, served
from gateway.intake.options import (
    NO_HEADERS,
    NO_OPTIONS,
    HeaderOptions,
    Options,
    all_options,
    requested_models,
    text,
)
from gateway.intake.permitted import permitted
from gateway.intake.prefix import known_by
from gateway.intake.provider import Preferences, sent_parameters
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet
from gateway.types import IncomingTrace, Policy, Request, Surface
from gateway.types.sink import Inbound
from gateway.upstream.dialects import THINKING_REQUEST_FIELDS, thinking_requested

PATIENCE = 1.0  # seconds until OpenRouter's clients get a keep-alive: their SDKs have a read timeout of five
LARGEST_BODY = 16 << 20  # bytes
_random = Random()
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Serving:
    """The configuration that all surfaces share.

    `fleets` are by model id; `rules` choose the policy of a request that names none, else it is `default_policy`;
    `max_body` is the maximum size of a decompressed body in bytes; `traces`: clients' trace contexts are read. `salt`
    (`Settings.salt`) keeps clients from computing the hashes of another tenant's prompts.
    """

    keys: Keys
    policies: Policies
    fleets: Mapping[str, Fleet]
    default_policy: str
    rules: tuple[Rule, ...] = ()
    max_body: int = LARGEST_BODY
    traces: bool = False
    salt: str = ""


class Intake:
    """Decodes the requests of one surface. `names` are its model names."""

    __slots__ = ("_names", "_patience", "_preferences", "_serving", "surface")

    def __init__(self, serving: Serving, names: Names, surface: Surface = "openai", patience: float = inf) -> None:
        """`patience`: seconds until clients get a keep-alive."""
        self._serving = serving
        self._names = names
        self._preferences = Preferences()
        self._patience = patience
        self.surface = surface

    def of(self, surface: Surface, names: Names | None = None) -> "Intake":
        """The same for another surface, or with other model names."""
        patience = PATIENCE if surface == "openrouter" else self._patience
        return Intake(self._serving, names or self._names, surface, patience)

    def tenant(self, inbound: Inbound) -> str:
        """The tenant of the request's key. Raises Unauthorized."""
        return self._serving.keys.of(inbound.headers).tenant

    def read(self, inbound: Inbound, translate: Translate | None = None, place: int = 0) -> tuple[Request, Policy]:
        """The request and its policy. `translate` converts another API's body to that of a chat completion.
        If the client names several known models, `place` selects one of them; 0 is the first.

        Raises ClientError.
        """
        key = self._serving.keys.of(inbound.headers)
        codings = inbound.headers.get(b"content-encoding")
        raw = inbound.body if codings is None else unpacked(inbound.body, codings, self._serving.max_body)
        parsed = read_body(raw, translate)
        body, fields, prompt = parsed.json, parsed.fields, parsed.prompt
        options, headers = all_options(body, fields, inbound.headers)
        needs = capabilities(parsed)
        tools = "tools" in needs
        choices = self._choices(parsed, key, options.preset, headers, prompt.size)
        if translate is not None:
            choices = choices[:1]  # only chat completions try other models
        others = max(len(choices) - 1 - place, 0)  # there may be fewer policies than when the first model was tried
        named, policy = choices[-1 - others]
        if not prompt.only_texts:
            needs |= self._message_needs(body["messages"], named, not others)
        if "provider" in fields and body["provider"] is not None:
            policy, needs = self._narrowed(policy, body, named, needs)
        fleet = self._serving.fleets[named.model.id]
        tokens, bytes_per_token = fleet.tokens, fleet.tokens.bytes_per_token[tools]
        thinking = named.thinks(None if THINKING_REQUEST_FIELDS.isdisjoint(fields) else thinking_requested(body))
        created, salt = int(time.time()), self._serving.salt
        request = Request(  # by position: with more keyword arguments Python would build a dict for the call
            new_id(created),
            body,
            named.model.id,
            policy.name,
            key.tenant,
            headers.app,
            self.surface,
            bool(body.get("stream")),
            self.surface == "openrouter" or ("stream_options" in fields and _includes_usage(body)),
            thinking,
            body.get("max_completion_tokens") or body.get("max_tokens"),
            tokens.count(prompt.size, tools),
            prompt.size,
            tokens.doubt[tools],
            prefix=known_by(policy, salt + key.tenant, options.session, prompt, thinking, bytes_per_token),
            opening=tokens.count(prompt.opening, tools),
            needs=needs,
            raw=parsed.raw,
            created=created,
            reasoning_history=named.model.reasoning.history,
            patience=self._patience,
        )
        if options is not NO_OPTIONS or headers is not NO_HEADERS or others:
            request = _with_options(request, options, headers, other_models=others)
        if self._serving.traces and b"traceparent" in inbound.headers:
            request = _traced(request, inbound.headers)
        return compressed(request, policy, fleet, salt) if options.compress else request, policy

    def _choices(
        self, parsed: ParsedBody, key: Key, preset: str, headers: HeaderOptions, prompt_size: int
    ) -> list[tuple[ResolvedModel, Policy]]:
        """The models to try, each with its policy."""
        serving, name = self._serving, parsed.json.get("model")
        plain = name is not None and "models" not in parsed.fields
        models = [self._names.model(name)] if plain else self._several_models(parsed.json)
        policy = key.policy or serving.default_policy
        if serving.rules:
            policy = self._policy_by_rule(models[0], parsed.json, key, headers.app, prompt_size) or policy
        choices = served(models, PolicyCandidates(preset, headers.policy, policy), serving.policies.current)
        return permitted(key, choices) if key.models or key.policies else choices

    def _several_models(self, body: Json) -> list[ResolvedModel]:
        """The known models of a request with `models`, or without `model`: OpenRouter's clients need not name any."""
        names = requested_models(body)
        if names == [None] and self.surface == "openrouter" and self._names.default is not None:
            return [self._names.default]
        return self._names.known(names)

    def _policy_by_rule(self, named: ResolvedModel, body: Json, key: Key, app: str, prompt_size: int) -> str | None:
        """The policy of the first match rule that applies, if any."""
        tools = bool(body.get("tools"))
        prompt_tokens = self._serving.fleets[named.model.id].tokens.count(prompt_size, tools)
        facts = Facts(app, key.tenant, tools, prompt_tokens, bool(body.get("stream")))
        return policy_by_rule(self._serving.rules, facts)

    def _narrowed(
        self, policy: Policy, body: Json, named: ResolvedModel, needs: frozenset[str]
    ) -> tuple[Policy, frozenset[str]]:
        """The policy narrowed by the request's `provider`, and the capabilities then needed. Raises BadRequest,
        NoEndpoint."""
        provider, serving = body["provider"], self._serving
        in_use = serving.fleets[named.model.id].states
        narrowed = self._preferences.applied(policy, provider, named.model, in_use, serving.policies.current)
        return narrowed, needs | sent_parameters(body) if provider.get("require_parameters") else needs

    def _message_needs(self, messages: list[Json], named: ResolvedModel, is_last: bool) -> frozenset[str]:
        """The capabilities for media and a `prefix` in the messages. Raises BadRequest if no endpoint of this model
        supports the media, and there is no other model to try."""
        found = media(messages)
        if found and is_last:
            refuse_media(found, self._serving.fleets[named.model.id].states.values(), named.model.id)
        return _continues(messages[-1]).union(found)


def new_id(created: int) -> str:
    """`gen-<unix time>-<20 hex digits>`, OpenRouter's format."""
    return f"gen-{created}-{_random.getrandbits(80):020x}"


def _includes_usage(body: Json) -> bool:
    return bool((body["stream_options"] or {}).get("include_usage"))


def _with_options(request: Request, options: Options, headers: HeaderOptions, other_models: int) -> Request:
    return msgspec.structs.replace(
        request,
        cache=headers.cache.mode,
        cache_ttl=headers.cache.ttl,
        explain=headers.explain,
        tells_routing=headers.tells_routing,
        session=options.session,
        hides_reasoning=options.hides_reasoning,
        other_models=other_models,
    )


def _traced(request: Request, headers: Mapping[bytes, bytes]) -> Request:
    trace = IncomingTrace(text(headers, b"traceparent"), text(headers, b"tracestate"))
    return msgspec.structs.replace(request, trace=trace)


def _continues(last: Json) -> frozenset[str]:
    """The capability to continue a final message with `prefix`, as in DeepSeek's prefix completion."""
    if not last.get("prefix"):
        return NO_NEEDS
    if last["prefix"] is not True or last["role"] != "assistant":
        raise BadRequest("`prefix` must be true, on a final assistant message", param="messages")
    return frozenset({"prefix"})
