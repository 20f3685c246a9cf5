"""The behaviour of simulated hosts in a replay, in virtual time.

    (seed, request, host) ──draws──> luck ──changes, outages, prompt cache, spreads, load──> Course of one attempt

The draws depend only on the request and the host, not on earlier attempts: two policies replayed with one seed get the
same slow answers and the same errors, so that only their choices differ.
"""

from collections.abc import Mapping, Sequence
from math import inf
from random import Random

import msgspec

from gateway.sim.blocks import BlockCache
from gateway.sim.changes import HostChange, Phase, Phases
from gateway.sim.outages import Outage, draw_outages
from gateway.sim.sim_host import SimHost, draw_speed, draw_ttft
from gateway.sim.workload import TraceRow
from gateway.types import Failure, Fault, Usage

REFUSED_AFTER = 0.05  # seconds until a connection is refused or an error status arrives
RETRY_AFTER = 1.0
_REFUSED = Failure(Fault.REFUSED, "connection refused")
_SERVER = Failure(Fault.SERVER, "Service overloaded, try again", status=503)
_LIMITED = Failure(Fault.RATE_LIMITED, "Model busy, retry later", status=429, retry_after=RETRY_AFTER)
_CUT = Failure(Fault.CUT, "the connection closed before the answer's end")


class Course(msgspec.Struct, frozen=True, gc=False):
    """The predetermined course of one attempt. `first` and `last` are seconds from the send to the first and last
    token, `inf` where there is none; with a `failure`, `last` is its time. `usage` is billed for the whole answer."""

    first: float
    last: float
    usage: Usage
    failure: Failure | None = None

    @property
    def speed(self) -> float | None:
        """Output tokens per second after the first."""
        return (self.usage.completion - 1) / (self.last - self.first) if self.last > self.first else None

    def billed(self, elapsed: float) -> Usage:
        """The usage billed when the client leaves after `elapsed` seconds: the prompt, and the output until then."""
        whole = self.usage
        if elapsed >= self.last or not whole.prompt:
            return whole
        written = (elapsed - self.first) / (self.last - self.first) if elapsed > self.first else 0.0
        return Usage(whole.prompt, whole.cached, int(whole.completion * written), 0, "host")


class Behaviour:
    """All hosts of one replay of `span` seconds, into which incidents of `days` days are compressed.

    Every `send` must be followed by one `over` when that attempt ends or is cancelled, because hosts may slow down with
    their requests in flight. ValueError for a change of an unknown host.
    """

    def __init__(
        self, hosts: Sequence[SimHost], seed: int, span: float, days: float, changes: Sequence[HostChange] = ()
    ) -> None:
        self.hosts: Mapping[str, SimHost] = {host.id: host for host in hosts}
        if unknown := {one.host for one in changes} - self.hosts.keys():
            raise ValueError(f"changes of unknown hosts: {', '.join(sorted(unknown))}")
        self.changes = changes
        self._seed = seed
        self._rng = Random()
        self._each = max(64, len(hosts))  # random seeds reserved for each request
        self._places = {host.id: place for place, host in enumerate(hosts)}
        self._caches = {host.id: BlockCache(host.cache_ttl) for host in hosts}
        self._outages = {host.id: _outages(host, seed, span, days) for host in hosts}
        self._phases = {host.id: Phases(host, changes) for host in hosts}
        self.in_flight = dict.fromkeys(self.hosts, 0)

    def phase(self, name: str, now: float) -> Phase:
        """A host's phase at this time."""
        return self._phases[name].at(now)

    def cached(self, name: str, row: TraceRow, now: float) -> float:
        """Expected tokens of this prompt that a host bills as cached. No gateway can know this; some baselines are
        given it."""
        held = self._caches[name].cached(row.prefix_hashes, row.input_tokens, now)
        return held * self.phase(name, now).host.hit_efficiency

    def send(self, name: str, number: int, row: TraceRow, now: float) -> Course:
        """Sends request `number` to a host. The prompt is cached there from now on."""
        self.in_flight[name] += 1
        (host, silent, _), rng = self.phase(name, now), self._rng
        if silent:
            return _SILENT
        rng.seed((self._seed << 40) + number * self._each + self._places[name])
        roll, cut_at, honoured, hit = rng.random(), rng.random(), rng.random(), rng.random()
        refusal = self._in_outage(name, now, honoured) or _refusal(host, roll)
        if refusal is not None:
            return refusal
        cache = self._caches[name]
        cached = cache.cached(row.prefix_hashes, row.input_tokens, now) if hit < host.hit_efficiency else 0
        cache.read(row.prefix_hashes, now)
        slower = host.load.factor(self.in_flight[name]) if host.load else 1.0
        speed = draw_speed(rng, host) / slower
        first = draw_ttft(rng, host, row.input_tokens - cached) * slower
        output = row.output_tokens
        failure = None
        if roll > 1 - host.rates.cut:
            failure, output = _CUT, int(output * cut_at)
        return Course(first, first + output / speed, Usage(row.input_tokens, cached, output, 0, "host"), failure)

    def over(self, name: str) -> None:
        """An attempt at this host ended, or was cancelled."""
        self.in_flight[name] -= 1

    def _in_outage(self, name: str, now: float, roll: float) -> Course | None:
        for outage in self._outages[name]:
            if outage.start <= now < outage.end and roll < outage.depth:
                return _OUTAGES[outage.how]
        return None

    def __repr__(self) -> str:
        return f"<Behaviour of {list(self.hosts)}, seed {self._seed}>"


def _outages(host: SimHost, seed: int, span: float, days: float) -> list[Outage]:
    if host.incidents is None or not span:
        return []
    return draw_outages(Random(f"{seed}/{host.id}"), host.incidents, span, days * 86_400 / span)


def _refusal(host: SimHost, roll: float) -> Course | None:
    """A 429 or an error status, at the host's rates."""
    rates = host.rates
    if roll < rates.rate_limited:
        return _RATE_LIMITED
    return _ERROR if roll < rates.rate_limited + rates.server_error else None


_RATE_LIMITED = Course(inf, REFUSED_AFTER, Usage(), _LIMITED)
_ERROR = Course(inf, REFUSED_AFTER, Usage(), _SERVER)
_SILENT = Course(inf, inf, Usage())
_OUTAGES = {
    "server": _ERROR,
    "refused": Course(inf, REFUSED_AFTER, Usage(), _REFUSED),
    "silent": _SILENT,
}
