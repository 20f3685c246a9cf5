"""What the hosts of the shipped fleet `real` did so far: the same for every policy, and without chance.

    every 50 s, at every host     a conversation of two turns begins: short, with tools, thinking or long
    each answer                   takes what the host's published p50 and p90 say, evenly over the whole distribution

What a situation adds is played among these in order of time, so that the fleet learns it as it would from traffic.
"""

import heapq
from collections.abc import Callable
from dataclasses import replace
from itertools import count, cycle
from math import exp, log
from statistics import NormalDist
from typing import Any, NamedTuple

from gateway.route.cost import parts
from gateway.route.fleet import Fleet
from gateway.route.offers import terms
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.sim.fleetfile import endpoint, read_fleet
from gateway.sim.sim_host import LEAST_TTFT, TYPICAL_UNCACHED, Z90, SimHost, Spread
from gateway.types import DataFacts, Failure, Policy, Request, Usage
from tests.route.world import HOUR, request

NOW = 3_600.0  # seconds
STARTED = NOW - 1_200
MORE = 200  # tokens that a next turn adds
EVERY = 50.0  # seconds between two conversations
CONTRACTS = ("novita/fp8", "siliconflow/fp8")  # hosts whose contract forbids to keep prompts, or to train on them
OUTPUT = {"short": 300, "tools": 120, "thinking": 900, "long": 300}  # tokens
PLACES = 24  # of a distribution, that answers take in turn
STRIDE, SPEED_STRIDE = 7, 11  # places between two answers: no order that time could explain


class Answer(NamedTuple):
    """How an answer goes: `completion` tokens long, and `slower` times as slow as without load."""

    completion: int = 300
    slower: Callable[[int], float] = lambda in_flight: 1.0


USUAL = Answer()


class History:
    """A fleet under one policy, and what is still to happen to it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.hosts = {host.id: host for host in read_fleet("real")}
        stated = DataFacts(trains="no", zdr="yes")
        offers = [endpoint(host) for host in self.hosts.values()]
        self.fleet = Fleet(replace(one, data=stated) if one.id in CONTRACTS else one for one in offers)
        self.slow: dict[str, tuple[float, float]] = {}  # host -> since when it is slow, and how many times as slow
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._digests = count(1)
        self._answers = dict.fromkeys(self.hosts, 0)
        self._calls = dict.fromkeys(self.hosts, 0)
        for number, kind in zip(range(int((NOW - STARTED) / EVERY)), cycle(OUTPUT), strict=False):
            for name in self.hosts:
                self._conversation(name, kind, STARTED + EVERY * number)

    def play(self) -> Fleet:
        """The fleet after everything up to now, in order of time. What ends later is still in flight."""
        while self._events and self._events[0][0] <= NOW:
            heapq.heappop(self._events)[2]()
        return self.fleet

    def prompt(self, tokens: int, before: Request | None = None, **asked: Any) -> Request:
        """A prompt of that size that is new to all, or the next turn of what was asked before."""
        earlier = before.prefix if before else ()
        digest = next(self._digests)
        opening = before.opening if before else tokens
        return request(prompt_tokens=tokens, prefix=(*earlier, (digest, tokens)), opening=opening, **asked)

    def answered(self, name: str, asked: Request, at: float, answer: Answer = USUAL) -> None:
        """The host gives a good answer to what it is sent at that time."""
        self._at(at, lambda: self._answers_to(self._sent(name, asked, at), answer, at))

    def silent(self, name: str, asked: Request, at: float) -> None:
        """The host says nothing to what it is sent at that time."""
        self._at(at, lambda: self._sent(name, asked, at))

    def failed(self, name: str, asked: Request, at: float, failure: Failure) -> None:
        """The host refuses at once what it is sent at that time."""
        self._at(at, lambda: self.fleet.failed(self._sent(name, asked, at), failure, at, draw=0.0))

    def _conversation(self, name: str, kind: str, at: float) -> None:
        size = 40_000 if kind == "long" else 1_000
        asked: dict[str, Any] = {
            "needs": frozenset({"tools"} if kind == "tools" else ()),
            "thinking": kind == "thinking",
        }
        first = self.prompt(size, **asked)
        answer = Answer(OUTPUT[kind])
        self.answered(name, first, at, answer)
        self.answered(name, self.prompt(size + MORE, first, **asked), at + EVERY, answer)

    def _at(self, at: float, event: Callable[[], object]) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))

    def _sent(self, name: str, asked: Request, at: float) -> TrackedAttempt:
        fleet, state = self.fleet, self.fleet.states[name]
        fleet.refresh(at)
        matches = fleet.prefixes.matches(asked.prefix, fleet.ttls, at)
        demand = fleet.demand(asked, self.policy, max(matches.values(), default=0), at, HOUR)
        offered, matched = terms(state, self.policy, demand.tools), matches.get(state.endpoint.id, 0)
        expected = parts(offered, state.load, demand, self.policy, matched)
        tried = TrackedAttempt(state, asked, demand, expected, timeout=60.0)
        fleet.sent(tried, at)
        return tried

    def _answers_to(self, tried: TrackedAttempt, answer: Answer, at: float) -> None:
        name, asked = tried.state.endpoint.id, tried.request
        cached = tried.parts.matched_tokens  # every host of this fleet honours what it was sent
        place = self._answers[name]
        self._answers[name] += 1
        since, times = self.slow.get(name, (NOW, 1.0))
        slower = answer.slower(round(tried.in_flight)) * (times if at >= since else 1.0)
        ttft = slower * _ttft(self.hosts[name], asked.prompt_tokens - cached, place)
        speed = _drawn(self.hosts[name].throughput, place * SPEED_STRIDE) / slower
        usage = Usage(asked.prompt_tokens, cached, answer.completion, 0, "host")
        end = at + ttft + answer.completion / speed
        self._at(at + ttft, lambda: self.fleet.began(tried, at + ttft))
        self._at(end, lambda: self._ended(tried, usage, ttft, speed, end))

    def _ended(self, tried: TrackedAttempt, usage: Usage, ttft: float, speed: float, now: float) -> None:
        self.fleet.succeeded(tried, usage, ttft, speed, now)
        if tried.demand.tools:
            name = tried.state.endpoint.id
            share = self.hosts[name].tools_ok or 0.9
            before, self._calls[name] = self._calls[name], self._calls[name] + 1
            well_formed = int((before + 1) * share + 0.5) > int(before * share + 0.5)
            tried.state.called_tools(well_formed, now)


def _ttft(host: SimHost, uncached: int, place: int) -> float:
    """Seconds, as `gateway.sim.sim_host.draw_ttft` has them, without its tail."""
    drawn = _drawn(host.ttft, place * STRIDE)
    return max(drawn * LEAST_TTFT, drawn + (uncached - TYPICAL_UNCACHED) / host.prefill)


def _drawn(spread: Spread, place: int) -> float:
    """One of `PLACES` values of the distribution with that p50 and p90."""
    z = NormalDist().inv_cdf((place % PLACES + 0.5) / PLACES)
    return spread.p50 * exp(log(spread.p90 / spread.p50) * z / Z90)
