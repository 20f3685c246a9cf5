"""Generated workloads: long agent sessions, and short prompts without shared prefixes.

    agent_sessions   conversations of an agent. Each turn sends the context again, a little longer; now and then the
                     agent rewrites the tail of its context, and always when the context would no longer fit

    turn 1   |system|--- context ---|                       |system|: the same in all conversations
    turn 2   |system|--- context ---|new|
    turn 3   |system|--- context -|rewritten|new|           from here on the cached old tail is useless

    short_prompts    requests of a chat product: Poisson arrivals, no shared prefix

Quantities are drawn from given quantiles, log-normal between each pair, so that the tails are as heavy as given. A seed
determines everything.
"""

from collections.abc import Iterator
from itertools import count, pairwise
from math import exp, log
from operator import attrgetter
from random import Random
from statistics import NormalDist

from gateway.sim.blocks import BLOCK
from gateway.sim.workload import TraceRow

HOUR = 3600.0
CONVERSATIONS = 160
BEGUN_WITHIN = 3 * HOUR  # seconds in which all of them begin
SYSTEM_BLOCKS = 1  # of the prompt that all conversations share, as in the recorded trace
HEAD_BLOCKS = SYSTEM_BLOCKS + 1  # these and the conversation's task are never rewritten
SMALLEST, LARGEST = 8_000, 126_000  # tokens of a prompt: the largest one and its answer fit into a context of 128,000
SHORT_RATE = 5.5  # requests per second
REWRITES = 0.05  # share of turns that rewrite the tail of the context
OUTGROWN = (0.0, 0.35)  # part of the context that is dropped where it would no longer fit; uniform in between
OLDEST = 0.35  # of these cases, the share that drops the oldest turns, so that everything behind them moves

_NORMAL = NormalDist()


class Quantiles:
    """A distribution given by quantiles, `share: value` in ascending order: log-normal between each pair."""

    def __init__(self, given: dict[float, float]) -> None:
        self._points = [(_NORMAL.inv_cdf(share), log(value)) for share, value in given.items()]
        self._least, self._most = min(given.values()), max(given.values())

    def draw(self, rng: Random) -> float:
        return self.at(rng.gauss(0.0, 1.0))

    def at(self, z: float) -> float:
        """The value `z` standard deviations from the median, within the first and the last given value."""
        for (z0, low), (z1, high) in pairwise(self._points):
            if z <= z1:
                return max(self._least, exp(low + (high - low) * (z - z0) / (z1 - z0)))
        return self._most

    def __repr__(self) -> str:
        return f"<Quantiles from {self._least:g} to {self._most:g}>"


TURNS = Quantiles({0.01: 2, 0.1: 6, 0.5: 37, 0.9: 99, 0.99: 150})
PAUSE = Quantiles({0.001: 3, 0.1: 7, 0.5: 15, 0.9: 95, 0.99: 1_080, 0.999: 2_400})  # seconds between turns
FIRST = Quantiles({0.01: SMALLEST, 0.1: 13_000, 0.5: 40_000, 0.9: 95_000, 0.99: 120_000})  # tokens, also below
GROWTH = Quantiles({0.001: 40, 0.1: 177, 0.5: 632, 0.9: 3_591, 0.99: 12_000})
REWRITTEN = Quantiles({0.01: 0.01, 0.5: 0.1, 0.9: 0.4, 0.99: 0.9})  # part of the context
OUTPUT = Quantiles({0.001: 20, 0.1: 101, 0.5: 204, 0.9: 776, 0.99: 3_000})
SHORT_INPUT = Quantiles(
    {
        0.001: 8,
        0.05: 181,
        0.1: 207,
        0.25: 396,
        0.5: 1_020,
        0.75: 1_189,
        0.9: 2_735,
        0.95: 4_083,
        0.99: 4_142,
        0.999: 6_212,
    }
)
SHORT_OUTPUT = Quantiles({0.001: 12, 0.1: 54, 0.25: 85, 0.5: 129, 0.75: 395, 0.9: 424, 0.99: 601, 0.999: 954})


def agent_sessions(seed: int = 0, conversations: int = CONVERSATIONS) -> list[TraceRow]:
    """Agents' turns, sorted by time. The lengths of the conversations do not depend on the seed."""
    rng, names = Random(seed), count(1)
    system = [next(names) for _ in range(SYSTEM_BLOCKS)]
    turns = [round(TURNS.at(_NORMAL.inv_cdf((place + 0.5) / conversations))) for place in range(conversations)]
    rows = [row for length in turns for row in _conversation(rng, length, system, names)]
    return sorted(rows, key=attrgetter("t"))


def short_prompts(seed: int = 0, seconds: float = HOUR) -> list[TraceRow]:
    """Requests without a shared prefix, sorted by time."""
    rng, rows, now = Random(seed), [], 0.0
    while (now := now + rng.expovariate(SHORT_RATE)) < seconds:
        rows.append(TraceRow(now, round(SHORT_INPUT.draw(rng)), round(SHORT_OUTPUT.draw(rng)), ()))
    return rows


def _conversation(rng: Random, turns: int, system: list[int], names: Iterator[int]) -> Iterator[TraceRow]:
    now, tokens = rng.uniform(0, BEGUN_WITHIN), FIRST.draw(rng)
    blocks = list(system)  # the complete ones
    for _ in range(turns):
        complete, rest = divmod(round(tokens), BLOCK)
        blocks += [next(names) for _ in range(complete - len(blocks))]
        last = (next(names),) if rest else ()  # incomplete: the next turn has another block in its place
        yield TraceRow(now, round(tokens), round(OUTPUT.draw(rng)), (*blocks, *last))
        now += PAUSE.draw(rng)
        tokens += GROWTH.draw(rng)
        if tokens > LARGEST:
            tokens = LARGEST * (1 - rng.uniform(*OUTGROWN))
            del blocks[_kept(tokens, 1.0 if rng.random() < OLDEST else REWRITTEN.draw(rng)) :]
        elif rng.random() < REWRITES:
            del blocks[_kept(tokens, REWRITTEN.draw(rng)) :]


def _kept(tokens: float, rewritten: float) -> int:
    """The number of unchanged blocks where this part of the context is rewritten."""
    return max(HEAD_BLOCKS, int(tokens * (1 - rewritten)) // BLOCK)
