"""What changed since the window before, in sentences made by rules from the figures of `history.json`.

    figures now, figures before, endpoints ──rules──> sentences, the most important first

A sentence says only what its samples support: a share changed if it is off by more than twice its standard error, a
median if it moved by a tenth over 50 samples each, a 95th percentile over 200. Percentages get a decimal for each
factor of ten of the requests, times and prices two or three digits. Shares are rounded down, so that 100 % means all.
"""

from collections.abc import Mapping
from math import floor, log10, sqrt
from typing import Any, NamedTuple

Figures = Mapping[str, Any]  # FIGURES of history.json

FEW = 20  # requests or attempts, under which nothing is compared
ENOUGH = {"p50": 50, "p95": 200}  # samples of a quantile
NOTABLE = 0.10  # change of a time or a speed
NOTABLE_PRICE = 0.02
NOTABLE_SHIFT = 0.10  # of all attempts, from one endpoint to others
POOR = 0.95  # success of an endpoint below which it is named
CERTAIN = 2.0  # standard errors
MOST = 6  # sentences


class TwoWindows(NamedTuple):
    """Figures of one endpoint, now and before; None where there is no earlier window."""

    now: Figures
    before: Figures | None


def verdict(now: Figures, before: Figures | None, endpoints: Mapping[str, TwoWindows], span: str) -> list[str]:
    """Sentences about the last `span`, as in "24 hours"."""
    requests = now["judged_requests"]
    if not now["requests"]:
        return [f"No requests in the last {span}."]
    found = [_success(now, before, span)]
    if requests < FEW:
        return [*found, f"That is too few to compare with the {span} before."]
    if before is None or before["judged_requests"] < FEW:
        found.append(f"The {span} before had too few requests to compare with.")
        before = None
    found += [_failovers(now), _price(now, before), *_times(now, before), *_shifts(now, before, endpoints)]
    found += _poor(endpoints)
    return [sentence for sentence in found if sentence][:MOST]


def _success(now: Figures, before: Figures | None, span: str) -> str:
    of, good = now["judged_requests"], now["succeeded"]
    if not of:
        return f"{_count(now['requests'], 'request')} in the last {span}, none of which says anything about success."
    text = f"{_percent(good, of)} of {_count(of, 'request')} in the last {span} succeeded"
    if before is None or before["judged_requests"] < FEW or of < FEW:
        return f"{text}."
    earlier, earlier_of = before["succeeded"], before["judged_requests"]
    changed = _differ(good, of, earlier, earlier_of)
    how = ("more" if good / of > earlier / earlier_of else "fewer") if changed else "as many"
    than = "than" if changed else "as"
    return f"{text}, {how} {than} in the {span} before ({_percent(earlier, earlier_of)})."


def _failovers(now: Figures) -> str:
    """What routing added, where it added anything."""
    rescued = now["succeeded"] - now["first_ok"]
    if rescued <= 0:
        return ""
    alone = _percent(now["first_ok"], now["judged_requests"])
    return f"Another attempt saved {_count(rescued, 'request')}: without, {alone} would have succeeded."


def _price(now: Figures, before: Figures | None) -> str:
    price, earlier = now["effective_price"], before and before["effective_price"]
    if not price:
        return ""
    text = f"1M tokens cost ${_digits(price, now['requests'])}"
    if not earlier:
        return f"{text}."
    change = price / earlier - 1
    if abs(change) < NOTABLE_PRICE:
        return f"{text}, as before."
    return f"{text}, {abs(change):.0%} {'more' if change > 0 else 'less'} than before{_cached(now, before)}."


def _cached(now: Figures, before: Figures | None) -> str:
    """The hit share, where it may explain the price."""
    if not (before and now["prompt"] and before["prompt"]):
        return ""
    share, earlier = now["cached"] / now["prompt"], before["cached"] / before["prompt"]
    if abs(share - earlier) < NOTABLE_PRICE:
        return ""
    return f"; {share:.0%} of the prompt tokens came from caches, before {earlier:.0%}"


def _times(now: Figures, before: Figures | None) -> list[str]:
    if before is None:
        return []
    return [
        _moved(now, before, "ttft", "p50", "The median time to first token"),
        _moved(now, before, "ttft", "p95", "The 95th percentile of the time to first token"),
        _moved(now, before, "throughput", "p50", "The median output speed"),
    ]


def _moved(now: Figures, before: Figures, name: str, quantile: str, words: str) -> str:
    mine, earlier = now[name], before[name]
    samples = min(mine["n"], earlier["n"])
    if samples < ENOUGH[quantile] or not (mine[quantile] and earlier[quantile]):
        return ""
    change = mine[quantile] / earlier[quantile] - 1
    if abs(change) < NOTABLE:
        return ""
    shown = [
        _speed(one, samples) if name == "throughput" else _time(one, samples)
        for one in (earlier[quantile], mine[quantile])
    ]
    return f"{words} {'rose' if change > 0 else 'fell'} from {shown[0]} to {shown[1]}."


def _shifts(now: Figures, before: Figures | None, endpoints: Mapping[str, TwoWindows]) -> list[str]:
    """The endpoint that gained most of the traffic, and the one that lost most."""
    if before is None or min(now["attempts"], before["attempts"]) < FEW:
        return []
    moves = [
        (one.now["attempts"] / now["attempts"] - (one.before or _NOTHING)["attempts"] / before["attempts"], name)
        for name, one in endpoints.items()
    ]
    found = [max(moves, default=(0.0, "")), min(moves, default=(0.0, ""))]
    return [_shift(name, endpoints[name], now, before) for move, name in found if abs(move) >= NOTABLE_SHIFT]


def _shift(name: str, one: TwoWindows, now: Figures, before: Figures) -> str:
    share = one.now["attempts"] / now["attempts"]
    earlier = (one.before or _NOTHING)["attempts"] / before["attempts"]
    return f"{name} took {share:.0%} of the attempts, before {earlier:.0%}."


def _poor(endpoints: Mapping[str, TwoWindows]) -> list[str]:
    """Endpoints that failed often, the worst first."""
    found = []
    for name, one in endpoints.items():
        of, good = one.now["judged"], one.now["ok"]
        if of >= FEW and good / of < POOR:
            found.append((good / of, f"{name} failed {_count(of - good, 'attempt')} of {of:,}."))
    return [sentence for _, sentence in sorted(found)]


_NOTHING: Figures = {"attempts": 0}


def _differ(good: int, of: int, earlier: int, earlier_of: int) -> bool:
    """Whether two shares differ by more than chance."""
    both = (good + earlier) / (of + earlier_of)
    error = sqrt(both * (1 - both) * (1 / of + 1 / earlier_of))
    return abs(good / of - earlier / earlier_of) > CERTAIN * error


def _percent(part: int, whole: int) -> str:
    """Rounded down, with as many decimals as `whole` bears: 97 %, 99.1 %, 99.92 %."""
    decimals = max(0, min(2, floor(log10(whole)) - 2))
    shown = floor(100 * 10**decimals * part / whole) / 10**decimals
    return f"{shown:.{0 if part == whole else decimals}f} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _digits(value: float, samples: int) -> str:
    """Two digits, with a hundred samples three, without exponent."""
    places = (3 if samples >= 100 else 2) - 1 - floor(log10(value))
    return f"{value:.{max(0, places)}f}"


def _time(seconds: float, samples: int) -> str:
    return f"{_digits(1_000 * seconds, samples)} ms" if seconds < 1 else f"{_digits(seconds, samples)} s"


def _speed(tokens: float, samples: int) -> str:
    return f"{_digits(tokens, samples)} tok/s"
