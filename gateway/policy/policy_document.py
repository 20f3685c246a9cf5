"""One policy document: decoded into a `Policy`, and described as a JSON schema for editors.

Both follow the type hints of `types/policy.py`, so that a field exists in all three or in none.
"""

import json
import re
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from gateway.document import (
    INVALID,
    DocumentReader,
    Entry,
    Hook,
    Node,
    Scalar,
    Table,
    decode,
    place_at,
    quantity,
    text_at,
)
from gateway.policy.describe import FIELDS, LIMITS
from gateway.policy.limits import MEASURES, example, pattern, read_limits
from gateway.types import Cap, Delay, Hedge, Limit, Pick, Policy, Require, Timeouts
from gateway.types.endpoint import Quantization
from gateway.types.units import DURATION, Unit

RESERVED = frozenset({"free", "batch", "thinking"})  # model suffixes that have a meaning at OpenRouter
NAME = r"^[a-z0-9][a-z0-9-]{0,47}$"
QUANTILE = r"p[5-9][0-9]"

_DECLARED = [name for name in Require.__dataclass_fields__ if name != "limits"]


def read_policy(node: Node, stem: str) -> Policy:
    """The policy of one document; `stem` is its file name without `.yaml`. Raises ConfigError."""
    hooks: dict[Any, Hook] = {
        Policy: lambda reader, node: _policy(reader, node, stem),
        Require: _require,
        Pick: _pick,
        Timeouts: _timeouts,
        Delay: _delay,
        Hedge: _hedge,
        Cap: _cap,
        tuple[Limit, ...]: read_limits,
    }
    return decode(node, Policy, hooks)


def _policy(reader: DocumentReader, node: Node, stem: str) -> Any:
    policy = reader.record(node, Policy)
    name = text_at(node, "name")
    if name is not None and (problem := _name_problem(name, stem)):
        reader.problem(place_at(node, "name"), problem)
    if policy is not INVALID and not (policy.attempts.max and policy.attempts.within):
        reader.problem(
            place_at(node, "attempts"),
            "attempts: no attempt could start; write `max: 1` or more, and a `within` above 0s",
        )
    if policy is not INVALID and not policy.keepalive:
        reader.problem(place_at(node, "keepalive"), "keepalive: `0s` is not an interval; write one, as in `10s`")
    return policy


def _name_problem(name: str, stem: str) -> str | None:
    if name in RESERVED:
        return f"name: `{name}` is a reserved model suffix; choose another name"
    if not re.fullmatch(NAME, name):
        return f"name: `{name[:60]}` is not a model suffix; write at most 48 of a-z, 0-9 and `-`"
    if name != stem:
        return f"name: `{name}` is not the file's name; write `{stem}`, or rename the file to {name}.yaml"
    return None


def _require(reader: DocumentReader, node: Node) -> Any:
    if not isinstance(node, Table):
        return reader.problem(node.place, "require: expected a table; write `{}` or `name: value` lines")
    limits: dict[str, Entry] = {name: entry for name, entry in node.entries.items() if name in MEASURES}
    given = {"limits": read_limits(reader, Table(node.place, limits))}
    if "quantization" in node.entries:
        entry = node.entries["quantization"]
        given["quantization"] = reader.read(entry.node, tuple[Quantization, ...], "quantization")
    return reader.record(node, Require, given, skip=[*MEASURES, *_DECLARED])


def _pick(reader: DocumentReader, node: Node) -> Any:
    pick = reader.record(node, Pick)
    if pick is INVALID:
        return INVALID
    if (pick.how == "fixed") != (pick.endpoint is not None):
        return reader.problem(
            node.place, "pick: `how: fixed` and `endpoint` go together; write both, as in `endpoint: novita/fp8`"
        )
    if (pick.how == "order") != bool(pick.order):
        return reader.problem(
            node.place, "pick: `how: order` and `order` go together; write both, as in `order: [novita, baidu/fp8]`"
        )
    if pick.explore > 1:
        return reader.problem(place_at(node, "explore"), "pick: `explore` is a share of requests; write at most `100%`")
    return pick


def _timeouts(reader: DocumentReader, node: Node) -> Any:
    timeouts = reader.record(node, Timeouts)
    if timeouts is INVALID:
        return INVALID
    for name in ("connect", "first_token", "gap", "total", "stream"):
        if not getattr(timeouts, name):
            reader.problem(place_at(node, name), f"timeouts: `{name}: 0s` fails every request; write a longer time")
    return timeouts


def _delay(reader: DocumentReader, node: Node) -> Any:
    text = node.text if isinstance(node, Scalar) else ""
    if text == "off":
        return Delay()
    if re.fullmatch(QUANTILE, text):
        return Delay(quantile=int(text[1:]) / 100)
    if seconds := quantity(text, DURATION):
        return Delay(seconds=seconds)
    found = f"`{text[:60]}`" if text else "this"
    right = "write a time as in `800ms`, `p50` to `p99`, or `off`"
    return reader.problem(node.place, f"after: {found} is not a delay; {right}")


def _hedge(reader: DocumentReader, node: Node) -> Any:
    hedge = reader.record(node, Hedge)
    if hedge is INVALID:
        return INVALID
    for name in ("max_share", "max_spend"):
        if getattr(hedge, name) > 1:
            reader.problem(place_at(node, name), f"hedge: `{name}` is a share; write at most `100%`")
    return hedge


def _cap(reader: DocumentReader, node: Node) -> Any:
    cap = reader.record(node, Cap)
    if cap is INVALID:
        return INVALID
    if not 0 < cap.share <= 1:
        reader.problem(place_at(node, "share"), "cap: `share` must be above `0%`, and at most `100%`")
    if not cap.window:
        reader.problem(place_at(node, "window"), "cap: `window` must be above 0s; write a time, as in `10m`")
    return cap


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a policy file, with descriptions, defaults and unit patterns."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Routing policy",
        **_record_schema(Policy, ""),
    }


def schema_text() -> str:
    """`json_schema()` as committed in `policies/policy.schema.json`."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _record_schema(cls: Any, above: str) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    properties: dict[str, Any] = {}
    for field in fields(cls):
        if cls is Require and field.name == "limits":
            properties |= _limits_schema()
            continue
        path = f"{above}{field.name}"
        properties[field.name] = (
            {"description": FIELDS[path]} | _value_schema(path, hints[field.name]) | _default(field)
        )
    required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        schema["required"] = required
    return schema


def _value_schema(path: str, hint: Any) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if path == "name":
        return {"type": "string", "pattern": NAME, "not": {"enum": sorted(RESERVED)}}
    if hint == tuple[Limit, ...]:
        return {"type": "object", "additionalProperties": False, "properties": _limits_schema()}
    if path == "require.quantization":
        return {"type": "array", "items": {"enum": list(get_args(Quantization))}}
    if hint is Delay:
        return _delay_schema()
    if is_dataclass(hint):
        return _record_schema(hint, f"{path}.")
    if origin is tuple:
        return {"type": "array", "items": _value_schema("", args[0])}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is Annotated:
        return _unit_schema(args[1])
    if type(None) in args:
        (kind,) = (one for one in args if one is not type(None))
        schema = _value_schema("", kind)
        return schema | {"type": [schema["type"], "null"]}
    plain: dict[Any, dict[str, Any]] = {str: {"type": "string"}, bool: {"type": "boolean"}, int: {"type": "integer"}}
    return plain[hint]


def _unit_schema(unit: Unit) -> dict[str, Any]:
    return {"type": "string", "pattern": unit.pattern, "examples": [unit.example]}


def _delay_schema() -> dict[str, Any]:
    """Some editors parse a bare `off` as false."""
    text = {"type": "string", "pattern": f"^(off|{QUANTILE}|{DURATION.pattern.strip('^$')})$", "examples": ["p97"]}
    return {"anyOf": [text, {"const": False}]}


def _limits_schema() -> dict[str, Any]:
    return {
        name: {
            "description": LIMITS[name],
            "type": "string",
            "pattern": pattern(name),
            "examples": [example(name)],
        }
        for name in MEASURES
    }


def _default(field: "Field[Any]") -> dict[str, Any]:
    """The default, where JSON and YAML write it alike: text, counts and switches."""
    plain = isinstance(field.default, str | bool | int) and not isinstance(field.default, float)
    return {"default": field.default} if plain else {}
