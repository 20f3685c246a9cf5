"""The fields that an endpoint inherits where it does not set its own, merged as YAML.

    the model's context, max_output, quantization, supports, dialect ──┐
    the engine's fields, where `provider` is a serving engine ─────────┤ lower layers win
    the model's own `engines: {vllm: ...}` ────────────────────────────┤
    gateway.yaml's `providers: {novita: ...}` ─────────────────────────┤
    the endpoint's fields ─────────────────────────────────────────────┴──> the endpoint to decode

An engine's fields hold for every model that it serves. What depends on both, such as the name under which an engine
serves the model, or the switch in the model's chat template, is set by the model or by the endpoint.
"""

import re
from typing import get_args

from gateway.document import (
    DocumentReader,
    Entry,
    Items,
    Node,
    Place,
    Scalar,
    Table,
    below,
    merge,
    nearest,
    place_at,
    text_at,
)
from gateway.types import Endpoint
from gateway.types.endpoint import ThinkingSwitch

INHERITED = ("context", "max_output", "quantization", "supports", "dialect")
ENGINES = ("vllm", "sglang")
_AT_ENGINES = re.compile(r"chat_template_kwargs\..*|reasoning_effort|unknown")
_HOSTS_OWN = frozenset(switch for switch in get_args(ThinkingSwitch) if not _AT_ENGINES.fullmatch(switch))


def with_inherited(models: Table, engines: Table, providers: Node | None) -> Table:
    """`models` with the inherited fields of every endpoint filled in. `engines` and `providers` are tables of endpoint
    fields by name."""
    own = providers if isinstance(providers, Table) else Table(models.place, {})
    filled = {name: Entry(entry.place, _filled(entry.node, engines, own)) for name, entry in models.entries.items()}
    return Table(models.place, filled)


def _filled(model: Node, engines: Table, providers: Table) -> Node:
    listed = _endpoints(model)
    if not isinstance(model, Table) or listed is None:
        return model
    shared = Table(model.place, {name: model.entries[name] for name in INHERITED if name in model.entries})
    own = below(model, "engines")
    layers = [engines, own, providers] if isinstance(own, Table) else [engines, providers]
    whole = Items(listed.place, tuple(_with_layers(endpoint, shared, layers) for endpoint in listed.nodes))
    return Table(model.place, {**model.entries, "endpoints": Entry(model.entries["endpoints"].place, whole)})


def _with_layers(endpoint: Node, shared: Node, layers: list[Table]) -> Node:
    provider = text_at(endpoint, "provider") or ""
    for layer in layers:
        if provider in layer.entries:
            shared = merge(shared, layer.entries[provider].node)
    return merge(shared, endpoint)


def check_engines(reader: DocumentReader, model: Node) -> None:
    """Reports problems of a model's own `engines`, used or not, and endpoints without a field that no engine
    provides."""
    own = below(model, "engines")
    if isinstance(own, Table):
        for name, engine in own.entries.items():
            if name in ENGINES:
                reader.record(merge(_unnamed(engine), engine.node), Endpoint)
            else:
                reader.problem(engine.place, f"engines: unknown engine `{name}`; {nearest(name, ENGINES)}")
    elif own is not None:
        reader.problem(own.place, "engines: expected a table; write it as in `{vllm: {model: ...}}`")
    listed = _endpoints(model)
    for endpoint in listed.nodes if listed else ():
        if text_at(endpoint, "provider") in ENGINES:
            _check_switch(reader, model, endpoint)


def _check_switch(reader: DocumentReader, model: Node, endpoint: Node) -> None:
    """At an engine, thinking is switched through the model's chat template, not through a field of a host's API."""
    shared, dialect = below(model, "dialect") or model, below(endpoint, "dialect") or endpoint
    switch, engine = text_at(dialect, "thinking"), text_at(endpoint, "provider")
    if switch is None and below(model, "reasoning") is not None:
        problem = f"how {engine} switches this model's thinking is missing"
    elif switch in _HOSTS_OWN and place_at(dialect, "thinking") == place_at(shared, "thinking"):
        problem = f"{engine} has no switch `{switch}`, which the endpoint inherits from the model"
    else:
        return
    right = (
        "`dialect: {thinking: chat_template_kwargs.thinking}` with the key that the chat template reads, or `unknown`"
    )
    reader.problem(endpoint.place, f"{text_at(endpoint, 'id')}: {problem}; add {right}")


def check_named(reader: DocumentReader, endpoint: Node) -> Node:
    """The endpoint, after reporting a missing `model` where its provider is an engine."""
    engine = text_at(endpoint, "provider")
    if engine not in ENGINES or below(endpoint, "model") is not None or not isinstance(endpoint, Table):
        return endpoint
    text = f"{text_at(endpoint, 'id')}: `model` is missing; add `model: ...`, the name under which {engine} serves it"
    reader.problem(endpoint.place, text)
    return Table(endpoint.place, {**endpoint.entries, "model": _scalar(endpoint.place, "null")})


def _unnamed(engine: Entry) -> Table:
    """The fields that an engine need not set."""
    kinds = {"id": "text", "provider": "text", "base_url": "null", "model": "null"}
    return Table(engine.place, {name: _scalar(engine.place, kind) for name, kind in kinds.items()})


def _scalar(place: Place, kind: str) -> Entry:
    return Entry(place, Scalar(place, "", kind))


def _endpoints(model: Node) -> Items | None:
    node = below(model, "endpoints")
    return node if isinstance(node, Items) else None
