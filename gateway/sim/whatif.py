"""Replays one trace on one fleet, for several policies, baselines and seeds.

    rows ──spread, seed──> arrivals ──┬── Router of each policy ───┐
    hosts ──seed──> Behaviour ────────┤                            ├──> Figures ──over seeds──> Outcome ──> Report
                                      └── Baseline ────────────────┘
    rows, hosts, cap ──oracle──> floor

Every subject gets the same arrivals and the same random draws at a seed. Figures over seeds are a mean and the
half-width of its 95 % confidence interval (Student's t).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from gateway.sim.baselines import Baseline
from gateway.sim.behaviour import Behaviour
from gateway.sim.engine import Engine, requests
from gateway.sim.fleetfile import endpoint
from gateway.sim.oracle import Floor, floor
from gateway.sim.router import Router
from gateway.sim.sim_host import MODEL, SimHost
from gateway.sim.tally import Tally
from gateway.sim.workload import TraceRow, spread
from gateway.types import Policy, Request

T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # by degrees of freedom from 1; beyond, 1.96 + 2.5 / df
PREDICTIONS = ("predicted_usd_bias", "predicted_seconds_bias")
INCIDENT_DAYS = 4.0  # days of incidents that are compressed into a replay


class Interval(NamedTuple):
    """A mean over seeds; the true one is within `half` of it with 95 % confidence. `half` is None with a single
    seed."""

    mean: float
    half: float | None


@dataclass(frozen=True, slots=True)
class Setup:
    """The inputs that all subjects share.

    `cap` applies to baselines and policies alike; 1 is none, and leaves each policy its own. `time_scale` 10 makes
    requests arrive ten times as fast. `incident_days` of the hosts' incidents are compressed into the trace. `trace`
    and `fleet` are the names of the rows and the hosts in a report.
    """

    rows: Sequence[TraceRow]
    hosts: Sequence[SimHost]
    cap: float = 1.0
    seeds: int = 5
    time_scale: float = 1.0
    incident_days: float = INCIDENT_DAYS
    trace: str = ""
    fleet: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy's or baseline's figures over all seeds, by the names in `Figures`; and each host's share of tokens."""

    name: str
    kind: Literal["policy", "baseline"]
    figures: dict[str, Interval | None]
    shares: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Report:
    trace: str
    fleet: str
    requests: int
    tokens: int  # input and output of the whole trace
    hosts: tuple[str, ...]
    seeds: int
    cap: float
    time_scale: float
    outcomes: tuple[Outcome, ...]
    floor: Floor

    def as_json(self) -> dict[str, Any]:
        """Plain values: intervals are objects with `mean` and `half`."""
        plain = asdict(self) | {"floor": self.floor._asdict()}
        for outcome in plain["outcomes"]:
            for group in ("figures", "shares"):
                outcome[group] = {name: one and one._asdict() for name, one in outcome[group].items()}
        return plain


def whatif(
    setup: Setup,
    policies: Sequence[Policy],
    baselines: Sequence[str],
    progress: Callable[[float], None] = lambda _: None,
) -> Report:
    """Replays the trace, which has at least one row, for every subject and seed. `progress` is called with the share
    done."""
    subjects: list[Policy | str] = [*policies, *baselines]
    tallies: list[list[Tally]] = [[] for _ in subjects]
    requested = requests(setup.rows, MODEL)
    total = setup.seeds * len(subjects)
    for seed in range(setup.seeds):
        rows = arrivals(setup, seed)
        for place, subject in enumerate(subjects):
            done = seed * len(subjects) + place
            engine = _engine(setup, rows, requested, subject, seed)
            tallies[place].append(engine.run(lambda part, done=done: progress((done + part) / total)))  # type: ignore[misc]
    return Report(
        trace=setup.trace,
        fleet=setup.fleet,
        requests=len(setup.rows),
        tokens=sum(row.input_tokens + row.output_tokens for row in setup.rows),
        hosts=tuple(host.id for host in setup.hosts),
        seeds=setup.seeds,
        cap=setup.cap,
        time_scale=setup.time_scale,
        outcomes=tuple(_outcome(subject, runs) for subject, runs in zip(subjects, tallies, strict=True)),
        floor=floor(arrivals(setup, 0), setup.hosts, setup.cap),
    )


def arrivals(setup: Setup, seed: int) -> list[TraceRow]:
    """The rows of one seed, spread over the trace's ticks, starting at 0, at the requested speed."""
    rows = spread(setup.rows, seed)
    start = rows[0].t if rows else 0.0
    return [replace(row, t=(row.t - start) / setup.time_scale) for row in rows]


def _engine(
    setup: Setup, rows: Sequence[TraceRow], requested: Sequence[Request], subject: Policy | str, seed: int
) -> Engine:
    behaviour = Behaviour(setup.hosts, seed, rows[-1].t, setup.incident_days)
    endpoints = [endpoint(host) for host in setup.hosts]
    if isinstance(subject, Policy):
        policy = _capped(subject, setup.cap)
        return Engine(rows, requested, Router(policy.name, policy, endpoints, seed), behaviour)
    return Engine(rows, requested, Baseline(subject, endpoints, seed, behaviour, setup.cap, rows), behaviour)


def _capped(policy: Policy, cap: float) -> Policy:
    """The policy with its own cap, unless there is one for all."""
    return policy if cap >= 1 else replace(policy, cap=replace(policy.cap, share=cap))


def _outcome(subject: Policy | str, runs: Sequence[Tally]) -> Outcome:
    figures = [asdict(run.figures()) for run in runs]
    if isinstance(subject, str):  # its choice uses no prediction
        figures = [one | dict.fromkeys(PREDICTIONS) for one in figures]
    shares = [run.shares() for run in runs]
    return Outcome(
        name=subject if isinstance(subject, str) else subject.name,
        kind="baseline" if isinstance(subject, str) else "policy",
        figures={name: interval([one[name] for one in figures]) for name in figures[0]},
        shares={host: Interval(*interval([one[host] for one in shares]) or (0.0, None)) for host in shares[0]},
    )


def interval(values: Sequence[float | None]) -> Interval | None:
    """Mean and half-width over seeds; None when no seed has a value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) == 1:
        return Interval(known[0], None)
    freedom = len(known) - 1
    t95 = T95[freedom - 1] if freedom <= len(T95) else 1.96 + 2.5 / freedom
    return Interval(fmean(known), t95 * stdev(known) / sqrt(len(known)))
