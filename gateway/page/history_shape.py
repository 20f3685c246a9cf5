"""The history as JSON: counts, prices and quantiles of each series. `docs/metrics.md#figures` defines each figure.

Times are Unix seconds, durations seconds, money USD. A figure is None without data. Figures that are not counted are
rounded to four digits: they are shown with fewer.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.telemetry.figure_definitions import price_per_million
from gateway.telemetry.packed import FAULT_NAMES, SKETCHES, Packed
from gateway.types import PICO, Price, counts

COUNTED = (
    *("requests", "succeeded", "judged_requests", "attempts", "ok", "judged", "first_ok", "cached_answers"),
    *("prompt", "cached", "completion", "reasoning", "tool_calls", "tool_calls_ok"),
)
QUANTILES = ("p50", "p75", "p90", "p95", "p99")
_FAILURES = [name for name in FAULT_NAMES if counts(name)]
Json = dict[str, Any]


def is_empty(one: Packed) -> bool:
    """Whether nothing was counted."""
    return not one["requests"] and not one["attempts"]


def figures(one: Packed) -> Json:
    """All figures of a series."""
    return {
        **{name: one[name] for name in COUNTED},
        "cost_usd": one["cost"] / PICO,
        "list_usd": (one["cost"] + one["prompt_saved"]) / PICO,
        "effective_input": _rounded(price_per_million(one["prompt_cost"], one["prompt"])),
        "effective_price": _rounded(price_per_million(one["cost"], one["prompt"] + one["completion"])),
        **{sketch: _quantiles(one, sketch) for sketch in SKETCHES},
    }


def points(buckets: Iterable[Packed]) -> Json:
    """The figures of each bucket, transposed: a list for each figure, with None where nothing was counted."""
    each = [None if is_empty(one) else figures(one) for one in buckets]
    columns: Json = {name: [one and one[name] for one in each] for name in _NAMES}
    for sketch in SKETCHES:
        columns[sketch] = {part: [one and one[part] for one in columns[sketch]] for part in ("n", *QUANTILES)}
    return columns


def day(start: int, one: Packed) -> Json:
    """One day of uptime, with the fault that most attempts failed by."""
    counted = {name: one[name] for name in ("attempts", "judged", "ok", "requests", "succeeded")}
    worst = max(_FAILURES, key=one.fault)
    return {"day": start, **counted, "worst": worst if one.fault(worst) else None}


def saved(everything: Packed, endpoints: Sequence[tuple[Price, Packed]]) -> Json:
    """What prompt caching, routing and the response cache saved, in USD. `endpoints` are those in use that have a
    price."""
    return {
        "prompt_cache_usd": everything["prompt_saved"] / PICO,
        "routing_usd": _saved_by_routing(endpoints),
        "response_cache_usd": everything["response_saved"] / PICO,
    }


def _saved_by_routing(endpoints: Sequence[tuple[Price, Packed]]) -> float | None:
    """All tokens of these endpoints at each one's list price and hit share, on average, minus what they cost."""
    total = Packed.total(one for _, one in endpoints)
    if not total["prompt"] + total["completion"]:
        return None
    usual = total["cached"] / (total["prompt"] or 1)
    elsewhere = 0.0
    for price, own in endpoints:
        hit = own["cached"] / own["prompt"] if own["prompt"] else usual
        cached = price.input if price.cached_input is None else price.cached_input
        of_prompt = (1 - hit) * price.input + hit * cached
        elsewhere += (total["prompt"] * of_prompt + total["completion"] * price.output) / 1e6
    return elsewhere / len(endpoints) - total["cost"] / PICO


def _quantiles(one: Packed, sketch: str) -> Json:
    values = (_rounded(value) for value in one.quantiles(sketch))
    return {"n": one.samples(sketch), **dict(zip(QUANTILES, values, strict=True))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


_NAMES = list(figures(Packed.total(())))  # of all figures
