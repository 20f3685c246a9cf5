"""Invented figures over time, in the shape of the history: one bucket after the other, with gaps, and their total."""

import math
from random import Random
from typing import Any

from tests.page.invented_hosts import DAY, HOSTS, QUANTILES

Json = dict[str, Any]


class Bookings:
    """Series over the buckets at `times`, `step` seconds each."""

    def __init__(self, times: list[float], step: float, traffic: bool) -> None:
        self._times = times
        self._step = step
        self._rate = 0.42 if traffic else 0.0  # requests per second

    @property
    def saved(self) -> float:
        return 0.000_33 * self._rate * self._step * len(self._times)

    def endpoint(self, name: str) -> Json:
        _, price, cached, output, ttft, speed, share, success, state = HOSTS[name]
        hit = 0.0 if cached is None or cached == price else 0.55
        points = [
            self._bucket(f"{name} {at}", at, share, (price, cached or price, output), (ttft, speed, success, hit))
            if not _silent(name, state, at, self._times)
            else None
            for at in self._times
        ]
        return _series(points)

    def all(self) -> Json:
        points = [
            self._bucket(f"all {at}", at, 1.0, (0.32, 0.15, 0.62), (0.97, 38.0, 0.9996, 0.42)) for at in self._times
        ]
        return _series(points)

    def part(self, share: float) -> Json:
        points = [
            self._bucket(f"{share} {at}", at, share, (0.32, 0.15, 0.62), (0.97, 38.0, 0.9996, 0.42))
            for at in self._times
        ]
        series = _series(points)
        return series | {
            "points": {name: series["points"][name] for name in ("requests", "prompt", "completion", "cost_usd")}
        }

    def _bucket(
        self, seed: str, at: float, share: float, prices: tuple[float, ...], speeds: tuple[float, ...]
    ) -> Json | None:
        rng = Random(seed)
        wave = 1 + 0.55 * math.sin((at % DAY) / DAY * 2 * math.pi - 1.9) if self._step < DAY else 1.0
        requests = int(self._rate * self._step * share * wave * rng.uniform(0.9, 1.1) + rng.random())
        if not requests:
            return None
        ttft, speed, success, hit = speeds
        hit *= rng.uniform(0.9, 1.1)
        prompt, completion = requests * 4_200, requests * 390
        cached = prompt * hit
        price, discounted, output = prices
        paid = (prompt - cached) * price + cached * discounted + completion * output
        listed = prompt * price + completion * output
        failed = sum(rng.random() > success for _ in range(min(requests, 400))) * requests / min(requests, 400)
        slow = wave * rng.uniform(0.9, 1.12)
        return {
            "requests": requests,
            "succeeded": requests - int(failed * 0.08 + rng.random() * 0.6),
            "judged_requests": requests,
            "attempts": requests + round(failed),
            "ok": requests - round(failed),
            "judged": requests,
            "first_ok": requests - round(failed + 0.012 * requests * rng.uniform(0.2, 1.5)) if share == 1 else None,
            "cached_answers": round(requests * 0.05),
            "prompt": prompt,
            "cached": round(cached),
            "completion": completion,
            "reasoning": round(completion * 0.35),
            "cost_usd": paid / 1e6,
            "list_usd": listed / 1e6,
            "effective_input": ((prompt - cached) * price + cached * discounted) / prompt,
            "effective_price": paid / (prompt + completion),
            "tool_calls": round(requests * 0.2),
            "tool_calls_ok": round(requests * 0.2 * (0.912 if speed == 24 else 0.985)),
            "ttft": quantiles(requests, ttft * (0.75 + 0.25 * slow)),
            "latency": quantiles(requests, (ttft + 390 / speed) * (0.8 + 0.2 * slow)),
            "throughput": quantiles(requests, speed / (0.8 + 0.2 * slow), falling=True),
        }


def _silent(name: str, state: str, at: float, times: list[float]) -> bool:
    """Gaps: one endpoint joined late, one is set back, one rests for part of the range."""
    place = (at - times[0]) / (times[-1] - times[0])
    if state == "set back":
        return place > 0.95
    return (name == "fireworks/bf16" and place < 0.3) or (name == "atlas-cloud/fp8" and 0.42 < place < 0.55)


def quantiles(n: int, middle: float, falling: bool = False) -> Json:
    """`falling`: of a speed, as 95 % reach p95."""
    if not n:
        return {"n": 0, **dict.fromkeys(QUANTILES, None)}
    return {"n": n, **{name: middle * (factor**-0.6 if falling else factor) for name, factor in QUANTILES.items()}}


QUANTITIES = ("ttft", "latency", "throughput")
MEANS = {"effective_input", "effective_price"}


def _series(points: list[Json | None]) -> Json:
    names = [name for name in EMPTY if name not in QUANTITIES]
    columns: Json = {name: [None if point is None else point[name] for point in points] for name in names}
    for name in QUANTITIES:
        columns[name] = {key: [None if one is None else one[name][key] for one in points] for key in ("n", *QUANTILES)}
    total = _total([point for point in points if point])
    before = {name: _shifted(name, value) for name, value in total.items()} if total["requests"] else None
    return rounded({"total": total, "before": before, "points": columns})


def rounded(value: Any) -> Any:
    """With four significant digits, as the gateway sends figures."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


EMPTY: Json = {
    **dict.fromkeys(("requests", "succeeded", "judged_requests", "attempts", "ok", "judged", "first_ok"), 0),
    **dict.fromkeys(("cached_answers", "prompt", "cached", "completion", "reasoning"), 0),
    **dict.fromkeys(("cost_usd", "list_usd"), 0.0),
    **dict.fromkeys(MEANS, None),
    **dict.fromkeys(("tool_calls", "tool_calls_ok"), 0),
    **{name: quantiles(0, 0) for name in QUANTITIES},
}


def _total(points: list[Json]) -> Json:
    if not points:
        return EMPTY
    total: Json = {}
    for name, first in points[0].items():
        if name in QUANTITIES:
            n = sum(point[name]["n"] for point in points)
            total[name] = {"n": n} | {key: sum(p[name]["n"] * p[name][key] for p in points) / n for key in QUANTILES}
        elif name in MEANS:
            total[name] = sum(point["prompt"] * point[name] for point in points) / sum(p["prompt"] for p in points)
        else:
            total[name] = None if first is None else sum(point[name] for point in points)
    return total


def _shifted(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in QUANTITIES:
        return {key: part if key == "n" else part * 1.07 for key, part in value.items()}
    return value * {"effective_price": 1.11, "effective_input": 1.12, "succeeded": 0.9985}.get(name, 1.0)
