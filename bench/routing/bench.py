"""What is replayed, and how often."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from gateway.policy.policies import Policies
from gateway.sim.fleetfile import read_fleet
from gateway.sim.generated import agent_sessions, short_prompts
from gateway.sim.sim_host import FaultRates, SimHost
from gateway.sim.whatif import Report, Setup, whatif
from gateway.sim.workload import TraceRow, read_trace
from gateway.types import Policy

CAP = 0.3
STEADY_SEEDS = 3  # at most, where hosts never fail: what differs from seed to seed is small
BASELINES = ("litellm-shuffle", "1/price^2", "cheapest", "openrouter", "sticky", "sticky-cost")
QUICK = ("openrouter", "sticky-cost")


class Bench:
    """Three workloads: `rows` of a trace, `agents` with long prompts that grow, `short` ones that share nothing.

    `parts` and `baselines` are those of the table of prices.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.rows: Sequence[TraceRow] = read_trace(given.trace)
        self.short: Sequence[TraceRow] = read_trace(given.short) if given.short else short_prompts()
        self.agents: Sequence[TraceRow] = read_trace(given.agents) if given.agents else agent_sessions()
        self.hosts: Sequence[SimHost] = read_fleet(given.fleet)
        self.seeds = 1 if given.quick else given.seeds
        self.steady_seeds = min(self.seeds, STEADY_SEEDS)
        self.parts = given.parts.split(",")
        self.baselines = QUICK if given.quick else BASELINES
        self.shipped = Policies(given.folder).current
        self._chosen: Sequence[str] | None = given.policies and given.policies.split(",")

    def policies(self, *usual: str) -> list[Policy]:
        """Those of the command line, or else the usual ones of a section."""
        return [self.shipped[name] for name in self._chosen or usual]

    def replay(self, policies: Sequence[Policy], baselines: Sequence[str] = (), **changes: object) -> Report:
        setup = replace(Setup(self.rows, self.hosts, seeds=self.steady_seeds), **changes)  # type: ignore[arg-type]
        return whatif(setup, policies, baselines, _progress)

    def __repr__(self) -> str:
        return f"<Bench of {len(self.rows)} requests, {self.seeds} seeds>"


def calm(hosts: Sequence[SimHost], ttl: float) -> list[SimHost]:
    """The same hosts, which never fail, with caches that live so many seconds."""
    return [replace(host, rates=FaultRates(0.0, 0.0, 0.0), uptime=1.0, incidents=None, cache_ttl=ttl) for host in hosts]


def part_of(rows: Sequence[TraceRow], part: str) -> Sequence[TraceRow]:
    """The first or second half of a trace by time, or the full one."""
    half = (rows[0].t + rows[-1].t) / 2
    if part == "full":
        return rows
    return [row for row in rows if (row.t < half) == (part == "first")]


def _progress(share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{share:4.0%}", end="\r" if share >= 1 else "", file=sys.stderr, flush=True)
