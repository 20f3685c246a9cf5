"""The tables of faults in Markdown, and the promises that a good gateway keeps in each row."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from gateway.types import Row
from tests.faults.asking import PATIENCE, UNFIT
from tests.faults.clienttrials import ClientTrial
from tests.faults.hosttrials import GAP, WITHIN, Trial
from tests.faults.machine import MachineTrial

SLACK = 1.5  # seconds: the trials share a machine
OTHERS = 0.5  # seconds that one client's fault may make another client wait


def host_lines(trials: Sequence[Trial]) -> Iterator[str]:
    """One row for each fault and form: alone, then with a second host."""
    yield "| the host | request | alone: the client gets | s | ledger | with a second host | s | ledger | |"
    yield "|---|---|---|---:|---|---|---:|---|---|"
    usual = [trial for trial in trials if trial.policy == "short"]
    for (name, stream), pair in groupby(usual, lambda trial: (trial.fault.name, trial.stream)):
        yield _row([name, "streamed" if stream else "whole"], list(pair))


def policy_lines(trials: Sequence[Trial]) -> Iterator[str]:
    """What else policies make of a stream that breaks: a row for each fault, with a second host."""
    yield "| the host | `answer: whole`: the client gets | s | ledger | `resume: continue` | s | ledger | |"
    yield "|---|---|---:|---|---|---:|---|---|"
    for name, pair in groupby([one for one in trials if one.policy != "short"], lambda trial: trial.fault.name):
        yield _row([name], sorted(pair, key=lambda trial: trial.policy, reverse=True))


def _row(cells: list[str], trials: Sequence[Trial]) -> str:
    for trial in trials:
        cells += [answer(trial), f"{trial.got.seconds:.1f}", ledger(trial.rows)]
    marks = dict.fromkeys(mark for trial in trials for mark in broken(trial))
    return f"| {' | '.join(cells)} | {', '.join(marks)} |"


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
    source = "est." if row.usage_source == "estimated" else row.usage_source
    return f"{row.outcome}{status}{f', {row.cost / 1e6:.1f} µ$ {source}' if row.cost else ''}"


def broken(trial: Trial) -> Iterator[str]:
    """The promises that were not kept in one trial of a host's fault."""
    got, fault = trial.got, trial.fault
    whole = got.whole(fault.text, fault.tools)
    if got.end in ("nothing", "cut"):
        yield "**no end**"
    if got.end == "done" and not whole:
        yield "**wrong answer as success**"
    if got.error in UNFIT:
        yield "**relayed**"
    elif not whole and not fault.mine and _answerable(trial):
        yield "**lost**"
    if whole and _estimated(trial):
        yield "**estimated**"
    if got.seconds > _bound(trial):
        yield "**late**"
    yield from _books(trial.asked - fault.at_once, trial.rows)


def _books(asked: int, rows: Sequence[Row], closed: bool = True) -> Iterator[str]:
    if closed and sum(row.last for row in rows) != 1:
        yield "**ledger not closed**"
    if asked > len(rows):
        yield "**not logged**"


def _estimated(trial: Trial) -> bool:
    return trial.fault.metered and bool(trial.rows) and trial.rows[-1].usage_source != "host"


def _answerable(trial: Trial) -> bool:
    """Whether a good gateway has the answer: a host gave it, or would give it to who asks again or elsewhere."""
    fault = trial.fault
    if fault.when == "never" or trial.policy == "short-whole":
        return True
    if trial.policy == "short-resume":
        return not fault.tools
    return (fault.when == "before" or not trial.stream) and (fault.once or not trial.alone)


def _bound(trial: Trial) -> float:
    """Until when there must be an end: the attempts' time before the first token, then the answer's own clocks."""
    return WITHIN + (0 if trial.fault.when == "before" else GAP) + SLACK


def client_lines(trials: Sequence[ClientTrial]) -> Iterator[str]:
    yield "| the client | gets | s | others wait, ms | requests to hosts | ledger | |"
    yield "|---|---|---:|---:|---:|---|---|"
    for trial in trials:
        gets = trial.got or "it has left"
        rows = ledger(trial.rows) if trial.rows else ""
        cells = [trial.fault.name, gets, f"{trial.seconds:.1f}", f"{trial.others * 1000:.0f}", str(trial.asked), rows]
        yield f"| {' | '.join(cells)} | {', '.join(broken_by_client(trial))} |"


def broken_by_client(trial: ClientTrial) -> Iterator[str]:
    """The promises that were not kept in one trial of a client's fault."""
    if not trial.got.startswith(trial.fault.expect):
        yield f"**should be {trial.fault.expect}**"
    if trial.fault.left and trial.left is None:
        yield "**host not cancelled**"
    if trial.others > OTHERS:
        yield "**others wait**"
    yield from _books(trial.asked, trial.rows, closed=trial.asked > 0)


def machine_lines(trials: Sequence[MachineTrial]) -> Iterator[str]:
    yield "| | requests meanwhile | longest, s | ready says | well again after, s | ledger | |"
    yield "|---|---|---:|---|---:|---|---|"
    for trial in trials:
        served = sum(got.end == "done" for got in trial.got)
        back = "" if trial.fault.stays else "never" if trial.back is None else f"{trial.back:.1f}"
        cells = [trial.fault.name, f"{served} of {len(trial.got)}", f"{max(got.seconds for got in trial.got):.2f}"]
        cells += [trial.ready, back, f"{trial.rows} of {trial.sent} rows"]
        yield f"| {' | '.join(cells)} | {', '.join(broken_by_machine(trial))} |"


def broken_by_machine(trial: MachineTrial) -> Iterator[str]:
    """The promises that were not kept in one trial of the store's or the machine's fault."""
    fault = trial.fault
    if trial.ended:
        yield "**the gateway ended**"
    if not fault.refuses and any(got.end != "done" for got in trial.got):
        yield "**not served**"
    if not fault.refuses and fault.says not in trial.ready:
        yield "**ready does not say it**"
    if trial.back is None and not fault.stays:
        yield "**does not come back**"
    if not trial.kept or (trial.rows < trial.sent and not fault.loses and not fault.refuses):
        yield "**rows lost**"
