"""A what-if report as a chart: blended price against TTFT p95, one dot for each policy and baseline, in SVG.

    TTFT p95, s
      |        · random              bars: 95 % confidence over seeds
      |  o floor      · cheapest     o policy   · baseline
      |______________________ $/1M tokens
      ¦ oracle floor

Left and down is better. The colours of text and axes are legible on light and on dark pages.
"""

from collections.abc import Sequence
from html import escape
from math import floor, log10
from typing import NamedTuple

from gateway.sim.whatif import Interval, Outcome, Report

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 40, 52  # margins
ROOM = 0.08  # of an axis, beyond the outermost dots
TICKS = 5  # on an axis, about
LINE = 14  # height of a line of text
LETTER = 6.6  # its mean width
COLOURS = {"policy": "#2b7bba", "baseline": "#8a8f98"}
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555b65}.grid{stroke:#8a8f98;stroke-opacity:.25}"
    ".floor{stroke:#c0504d;stroke-dasharray:5 4}@media(prefers-color-scheme:dark){text{fill:#c9ced6}}"
)


class Axis(NamedTuple):
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, about `TICKS` of them."""
        rough = (self.high - self.low) / TICKS
        unit = 10.0 ** floor(log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
        first = floor(self.low / step) + 1
        return [step * place for place in range(first, first + 2 * TICKS) if step * place <= self.high]


class Dot(NamedTuple):
    name: str
    kind: str
    price: Interval
    ttft: Interval


def picture(report: Report) -> str:
    """The report as an SVG document. Subjects without a single answer are left out."""
    dots = [dot for outcome in report.outcomes if (dot := _dot(outcome))]
    across = _axis([*(one.price for one in dots), Interval(report.floor.blended_price, None)], LEFT, WIDTH - RIGHT)
    up = _axis([one.ttft for one in dots], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>Blended price and TTFT of {len(dots)} policies and baselines</title><style>{STYLE}</style>",
        *_grid(across, up),
        *_floor(report.floor.blended_price, across),
        *(line for dot in dots for line in _mark(dot, across, up)),
        *_labels(dots, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _dot(outcome: Outcome) -> Dot | None:
    price, ttft = outcome.figures["blended_price"], outcome.figures["ttft_p95"]
    return Dot(outcome.name, outcome.kind, price, ttft) if price and ttft else None


def _axis(values: Sequence[Interval], start: float, end: float) -> Axis:
    low = min((one.mean - (one.half or 0.0) for one in values), default=0.0)
    high = max((one.mean + (one.half or 0.0) for one in values), default=1.0)
    room = ROOM * (high - low) or 0.1 * high or 1.0
    return Axis(low - room, high + room, start, end)


def _grid(across: Axis, up: Axis) -> list[str]:
    parts = [
        _text(LEFT - 48, TOP - 20, "TTFT p95, s"),
        _text(WIDTH / 2, HEIGHT - 12, "$ per 1M tokens, blended", "middle"),
    ]
    for value in across.ticks():
        x = across.at(value)
        parts += [_line(x, TOP, x, HEIGHT - BOTTOM, "grid"), _text(x, HEIGHT - BOTTOM + 18, f"{value:.4g}", "middle")]
    for value in up.ticks():
        y = up.at(value)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y, "grid"), _text(LEFT - 8, y + 4, f"{value:.4g}", "end")]
    return parts


def _floor(price: float, across: Axis) -> list[str]:
    x = across.at(price)
    return [_line(x, TOP, x, HEIGHT - BOTTOM, "floor"), _text(x + 4, TOP - 6, "oracle floor")]


def _mark(dot: Dot, across: Axis, up: Axis) -> list[str]:
    x, y, colour = across.at(dot.price.mean), up.at(dot.ttft.mean), COLOURS[dot.kind]
    parts = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if dot.kind == "policy" else 3.5}" fill="{colour}"/>']
    if dot.price.half and dot.ttft.half:
        left, right = (across.at(dot.price.mean + sign * dot.price.half) for sign in (-1, 1))
        low, high = (up.at(dot.ttft.mean + sign * dot.ttft.half) for sign in (-1, 1))
        parts.append(f'<path d="M{left:.1f} {y:.1f}H{right:.1f}M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
    return parts


def _labels(dots: Sequence[Dot], across: Axis, up: Axis) -> list[str]:
    """A name next to each dot, moved down where it would cover another one."""
    taken: list[tuple[float, float, float]] = []  # left, right, baseline
    parts = []
    for dot in sorted(dots, key=lambda one: up.at(one.ttft.mean)):
        width = len(dot.name) * LETTER
        x, y = across.at(dot.price.mean) + 8, up.at(dot.ttft.mean) - 4
        if x + width > WIDTH - 4:
            x -= width + 16
        while any(left < x + width and x < right and abs(y - other) < LINE for left, right, other in taken):
            y += LINE / 2
        taken.append((x, x + width, y))
        parts.append(_text(x, y, dot.name))
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
