"""One workload on one fleet, replayed with changes or without."""

from collections.abc import Sequence

from gateway.route.plan import Plan
from gateway.sim.baselines import Baseline
from gateway.sim.behaviour import Behaviour
from gateway.sim.changes import HostChange
from gateway.sim.engine import Engine, requests
from gateway.sim.fleetfile import endpoint
from gateway.sim.replay_log import Log
from gateway.sim.router import Router
from gateway.sim.sim_host import MODEL, SimHost
from gateway.sim.whatif import INCIDENT_DAYS, Setup, arrivals
from gateway.sim.workload import TraceRow
from gateway.types import Endpoint, Policy, Request


class Knowing(Router):
    """The gateway's decision, if it knew at every moment how often each host honours a cached prefix."""

    def __init__(self, policy: Policy, endpoints: list[Endpoint], seed: int, behaviour: Behaviour) -> None:
        super().__init__(policy.name, policy, endpoints, seed)
        self._behaviour = behaviour

    def plan(self, request: Request, row: TraceRow, now: float, hour: int) -> Plan:
        self.fleet.refresh(now)
        for name, state in self.fleet.states.items():
            state.hit_rate = self._behaviour.phase(name, now).host.hit_efficiency
        return super().plan(request, row, now, hour)


class Experiment:
    """Replays from cold, each with the arrivals and the luck of its seed."""

    def __init__(self, rows: Sequence[TraceRow], hosts: Sequence[SimHost]) -> None:
        self.hosts = hosts
        self._setup = Setup(rows, hosts)
        self._requests = requests(rows, MODEL)
        self._undisturbed: dict[tuple[int, str], Log] = {}

    def undisturbed(self, seed: int, policy: Policy) -> Log:
        """What came of it where nothing changes."""
        key = seed, policy.name
        if key not in self._undisturbed:
            self._undisturbed[key] = self.log(seed, policy)
        return self._undisturbed[key]

    def log(self, seed: int, subject: Policy | str, *changes: HostChange, knowing: bool = False) -> Log:
        """What came of it under a policy or a baseline."""
        rows = arrivals(self._setup, seed)
        endpoints = [endpoint(host) for host in self.hosts]
        behaviour = Behaviour(self.hosts, seed, rows[-1].t, INCIDENT_DAYS, changes)
        router: Router
        if isinstance(subject, str):
            router = Baseline(subject, endpoints, seed, behaviour, 1.0, rows)
        elif knowing:
            router = Knowing(subject, endpoints, seed, behaviour)
        else:
            router = Router(subject.name, subject, endpoints, seed)
        log = Log(len(rows), [host.id for host in self.hosts])
        Engine(rows, self._requests, router, behaviour, log).run()
        return log

    def __repr__(self) -> str:
        return f"<Experiment with {len(self._requests)} requests on {len(self.hosts)} hosts>"
