"""The table of faults in Markdown, and what a good gateway promises in each row."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from gateway.types import Row
from tests.faults.asking import PATIENCE, UNFIT
from tests.faults.hosttrials import GAP, WITHIN, Trial

SLACK = 1.5  # seconds: the trials share a machine


def host_lines(trials: Sequence[Trial]) -> Iterator[str]:
    """One row for each fault and form: alone, then with a second host."""
    yield "| the host | request | alone: the client gets | s | ledger | with a second host | s | ledger | |"
    yield "|---|---|---|---:|---|---|---:|---|---|"
    for (_, stream), pair in groupby(trials, lambda trial: (trial.fault.name, trial.stream)):
        both = list(pair)
        cells = [both[0].fault.name, "streamed" if stream else "whole"]
        for trial in both:
            cells += [answer(trial), f"{trial.got.seconds:.1f}", ledger(trial.rows)]
        marks = dict.fromkeys(mark for trial in both for mark in broken(trial))
        yield f"| {' | '.join(cells)} | {', '.join(marks)} |"


def answer(trial: Trial) -> str:
    """What the client got, in a few words."""
    got = trial.got
    if got.whole(trial.fault.text, trial.fault.tools):
        return "the answer"
    so_far = f"{got.tokens} tokens, then " if got.tokens and got.end != "done" else ""
    if got.end == "error":
        return f"{so_far}{got.status if not so_far else 'event'} `{got.error}`"
    if got.end == "nothing":
        return f"{so_far}nothing for {PATIENCE:.0f} s"
    return f"{so_far}cut off" if got.end == "cut" else "another answer"


def ledger(rows: Sequence[Row]) -> str:
    """Every attempt: outcome, status, and what it is booked at."""
    return "; ".join(map(_attempt, rows)) or "no row"


def _attempt(row: Row) -> str:
    status = f" {row.status}" if row.status not in (0, 200) else ""
    booked = (
        f", {row.cost / 1e6:.1f} µ$ {'est.' if row.usage_source == 'estimated' else row.usage_source}"
        if row.cost
        else ""
    )
    return f"{row.outcome}{status}{booked}"


def broken(trial: Trial) -> Iterator[str]:
    """The promises that were not kept in one trial."""
    got, fault = trial.got, trial.fault
    whole = got.whole(fault.text, fault.tools)
    if got.end in ("nothing", "cut"):
        yield "**no end**"
    if got.end == "done" and not whole:
        yield "**wrong answer as success**"
    if whole and _estimated(trial):
        yield "**estimated**"
    if got.seconds > _bound(trial):
        yield "**late**"
    if sum(row.last for row in trial.rows) != 1:
        yield "**ledger not closed**"
    if trial.asked > len(trial.rows):
        yield "**asked unseen**"
    if got.error in UNFIT:
        yield "**relayed**"
    elif not whole and not fault.mine and _answerable(trial):
        yield "**lost**"


def _estimated(trial: Trial) -> bool:
    return trial.fault.metered and bool(trial.rows) and trial.rows[-1].usage_source != "host"


def _answerable(trial: Trial) -> bool:
    """Whether a good gateway has the answer: a host gave it, or would give it to who asks again or elsewhere."""
    fault = trial.fault
    return fault.when == "never" or ((fault.when == "before" or not trial.stream) and (fault.once or not trial.alone))


def _bound(trial: Trial) -> float:
    """Until when there must be an end: the attempts' time before the first token, then the answer's own clocks."""
    return WITHIN + (0 if trial.fault.when == "before" else GAP) + SLACK
