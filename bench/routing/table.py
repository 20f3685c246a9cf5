"""Tables in Markdown, and figures as their cells."""

from collections.abc import Iterator, Sequence

from gateway.sim.whatif import Interval, Outcome


def heads(cells: Sequence[str]) -> Iterator[str]:
    yield row(cells)
    yield "|---" + "|---:" * (len(cells) - 1) + "|"


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def mean(outcome: Outcome, figure: str) -> float:
    found = outcome.figures[figure]
    return found.mean if found else float("nan")


def priced(outcome: Outcome) -> str:
    """The blended price, with the share of cached input and that of the busiest host."""
    share = f"{mean(outcome, 'cache_hit'):.1%}, {mean(outcome, 'busiest'):.0%}"
    return f"{plain(outcome.figures['blended_price'], 4)} ({share})"


def plain(figure: Interval | None, digits: int) -> str:
    if figure is None:
        return "-"
    return f"{figure.mean:.{digits}f}" + (f" ± {figure.half:.{digits}f}" if figure.half is not None else "")


def percent(figure: Interval | None, digits: int) -> str:
    if figure is None:
        return "-"
    return plain(Interval(figure.mean * 100, figure.half and figure.half * 100), digits) + " %"
