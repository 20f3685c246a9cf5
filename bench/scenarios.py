"""What is asked of every subject."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.frontier import SCALES
from bench.load import Call, Load
from bench.mock import HEAD_AND_TAIL

LIMIT = 30.0  # seconds for a number of requests, which a subject that is overloaded does not finish


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load. Without `requests` it is a closed loop for the run's seconds; `behaviour` is the host's."""

    name: str
    connections: int
    size: int = 1024
    stream: bool = False
    requests: int | None = None
    spread: float = 0.0
    behaviour: Mapping[str, Any] = field(default_factory=dict)

    @property
    def later_events(self) -> int:
        """Events of one stream after its first: what it costs more than a plain request."""
        return int(self.behaviour.get("chunks", 0)) + HEAD_AND_TAIL - 1

    def load(self, call: Call, seconds: float) -> Load:
        """The load on one subject, over after `seconds` where it is a closed loop."""
        limit = seconds if self.requests is None else LIMIT
        return Load(call, self.connections, seconds=limit, requests=self.requests, spread=self.spread)

    def quick(self) -> "Scenario":
        """The same on a small scale, to see that everything works."""
        if self.requests is None:
            return self
        connections = max(1, self.connections // 10)
        behaviour = {**self.behaviour, "chunks": 20}
        return replace(self, connections=connections, requests=connections, behaviour=behaviour)


CANCEL = "cancel"
GROWTH = "growth"
ONCE = (*SCALES, GROWTH)  # in the first round only: they take long
ALL = (
    Scenario("small-c1", connections=1),
    Scenario("small-c16", connections=16),
    Scenario("small-c64", connections=64),
    Scenario("large-c4", connections=4, size=256 * 1024),
    Scenario("stream-c1", connections=1, stream=True, behaviour={"chunks": 100}),
    Scenario(
        "paced",
        connections=200,
        stream=True,
        requests=400,
        spread=0.2,
        behaviour={"chunks": 100, "ttft": 0.2, "interval": 0.02},
    ),
    Scenario(
        "crowd",
        connections=2000,
        stream=True,
        requests=2000,
        spread=2.0,
        behaviour={"chunks": 25, "ttft": 0.2, "interval": 0.2},
    ),
)
SCENARIOS = {scenario.name: scenario for scenario in ALL}
DEFAULT = (*(name for name in SCENARIOS if name != "crowd"), CANCEL, *ONCE)
COMPARED = (*SCENARIOS, CANCEL, *SCALES)  # of what is not ours
