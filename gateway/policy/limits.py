"""Limits of a policy, as in `ttft_p95: "<= 4s"`: each measure has its own unit."""

import re
from typing import Any, get_args

from gateway.document import INVALID, DocumentReader, Node, Scalar, Table, in_unit, nearest, quantity
from gateway.types import Limit, Measure
from gateway.types.units import DURATION, SHARE, USD, Unit

UNITS: dict[Measure, Unit | None] = {
    "price.input": USD,
    "price.cached_input": USD,
    "price.output": USD,
    "context": None,
    "max_output": None,
    "ttft_p50": DURATION,
    "ttft_p75": DURATION,
    "ttft_p90": DURATION,
    "ttft_p95": DURATION,
    "ttft_p99": DURATION,
    "throughput_p50": None,
    "throughput_p75": None,
    "throughput_p90": None,
    "throughput_p99": None,
    "uptime_5m": SHARE,
    "uptime_1h": SHARE,
    "tools_ok": SHARE,
}  # None: a plain number, of tokens or tokens per second
MEASURES: tuple[Measure, ...] = get_args(Measure)

_NUMBER = r"^[0-9]+(\.[0-9]+)?$"
_COMPARISON = re.compile(r"(<=|>=) *(.*)")


def example(measure: Measure) -> str:
    """A limit in this measure's unit, for error messages and editors."""
    unit = UNITS[measure]
    operator = "<=" if measure.startswith(("price", "ttft")) else ">="
    plain = "20" if measure.startswith("throughput") else "100000"
    return f"{operator} {unit.example if unit else plain}"


def pattern(measure: Measure) -> str:
    """The regular expression that limits in this measure match."""
    unit = UNITS[measure]
    return "^(<=|>=) *" + (unit.pattern if unit else _NUMBER).removeprefix("^")


def read_limits(reader: DocumentReader, node: Node) -> Any:
    """All limits of a table, in its order; every key must be a measure."""
    if not isinstance(node, Table):
        return reader.problem(node.place, 'expected a table of limits, as in `{ttft_p95: "<= 4s"}`')
    limits = []
    for name, entry in node.entries.items():
        measure = next((known for known in MEASURES if known == name), None)
        if measure is None:
            reader.problem(entry.place, f"unknown measure `{name}`; {nearest(name, MEASURES)}")
        else:
            limits.append(_read_limit(reader, entry.node, measure))
    return INVALID if INVALID in limits else tuple(limits)


def _read_limit(reader: DocumentReader, node: Node, measure: Measure) -> Any:
    right = f'write it as in `{measure}: "{example(measure)}"`'
    if not isinstance(node, Scalar):
        return reader.problem(node.place, f"{measure}: expected a comparison; {right}")
    match = _COMPARISON.fullmatch(node.text)
    if match is None:
        return reader.problem(node.place, f"{measure}: `{node.text[:60]}` is not a comparison; {right}")
    unit = UNITS[measure]
    value = _number(match[2]) if unit is None else quantity(match[2], unit)
    if value is None:
        if unit is not None and _number(match[2]) is not None:
            right = f'write it as in `{measure}: "{match[1]} {in_unit(match[2], unit)}"`'
        return reader.problem(node.place, f"{measure}: `{match[2][:60]}` has a wrong unit, or none; {right}")
    return Limit(measure, "<=" if match[1] == "<=" else ">=", value)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text) else None
