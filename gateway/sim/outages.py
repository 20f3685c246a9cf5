"""Outages of simulated hosts: when, how long, and the share of affected requests.

Public status pages of hosted LLM APIs report one incident per 3 to 5 days, with log-normal lengths, most of them
partial. A replay of one hour would hardly ever contain one, so days are compressed into it: `compression` times as many
outages, each `compression` times shorter. The share of time in outage stays the same; the changes, which a gateway must
detect, come closer together.
"""

from math import log
from random import Random
from typing import Literal, NamedTuple

from gateway.sim.sim_host import Incidents

SIGMA = 1.2  # of the log of a length: p90 is 4.7 times the median
DEPTHS = (0.2, 1.0)  # share of affected requests, uniform in between
HOW: dict[Literal["server", "refused", "silent"], int] = {"server": 6, "refused": 2, "silent": 2}  # weights


class Outage(NamedTuple):
    """Seconds of the replay from `start` to `end`, in which a share `depth` of requests ends as `how` says."""

    start: float
    end: float
    depth: float
    how: Literal["server", "refused", "silent"]


def draw_outages(rng: Random, incidents: Incidents, span: float, compression: float) -> list[Outage]:
    """One host's outages within `span` seconds of a replay, in order; they may overlap."""
    outages: list[Outage] = []
    start = rng.expovariate(compression / incidents.every)
    while start < span:
        length = rng.lognormvariate(log(incidents.median), SIGMA) / compression
        (how,) = rng.choices(list(HOW), weights=list(HOW.values()))
        outages.append(Outage(start, start + length, rng.uniform(*DEPTHS), how))
        start += rng.expovariate(compression / incidents.every)
    return outages
