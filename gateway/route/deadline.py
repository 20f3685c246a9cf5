"""How long an attempt may take: to its first token where the host streams, else to the end of its answer.

    first token     the policy's clock for this prompt; never under the endpoint's own p99, and short for a probe
    whole answer    what a slow first token takes there, at most that clock, and the longest likely length at the
                    endpoint's slow speed

A host is asked to stream for every answer that may take long to write, also where the client does not stream: then a
silent host is known by its first token, seconds later, and not by the longest time that an answer may take. A short
answer goes upstream whole, because each event of a stream costs about as much as a tenth of a request.

Times are in seconds.
"""

from gateway.route.cost import Demand
from gateway.route.plan import Choice
from gateway.types import Policy, Request

LONG = 8.0  # seconds of writing from which a host is asked to stream
SLOW = 1.5  # times the p99 of the first token, that a whole answer has before its length counts
PROBE = 3.0  # times the usual p95, that a probe waits for its first token


def streams(request: Request, writing: float) -> bool:
    """Whether an endpoint streams its answer, which takes so many seconds to write."""
    return request.stream or writing > LONG


def writing(choice: Choice, demand: Demand) -> float:
    """How long the endpoint, at its slow speed, writes the longest likely answer."""
    return demand.longest_output / choice.state.speeds.p10


def scaled(seconds: float, choice: Choice, policy: Policy) -> float:
    """A time for a prompt of no length, for this prompt."""
    return seconds + policy.timeouts.first_token_per_10k * choice.parts.uncached / 10_000


def to_first_token(choice: Choice, policy: Policy) -> float:
    """Who probes an endpoint that was broken waits no longer than answers usually take there."""
    clock = scaled(policy.timeouts.first_token, choice, policy)
    if choice.state.breaker.until is not None:
        return min(clock, PROBE * _usual_p95(choice))
    return max(clock, _p99(choice))


def to_whole(choice: Choice, policy: Policy, writing: float) -> float:
    """For an answer that the host is not asked to stream. What is expected of a first token is known from the start, if
    only by what is published."""
    waits, parts = choice.state.waits, choice.parts
    slow = SLOW * waits.p99[parts.size] * parts.pace
    return min(slow, to_first_token(choice, policy)) + writing


def _p99(choice: Choice) -> float:
    """What 99 of 100 such prompts stay under at this endpoint; 0 where too few samples say so."""
    waits, parts = choice.state.waits, choice.parts
    return waits.p99[parts.size] * parts.pace if waits.known[parts.size] else 0.0


def _usual_p95(choice: Choice) -> float:
    """What 95 of 100 such prompts usually stay under at this endpoint, whatever it does now."""
    waits, parts = choice.state.waits, choice.parts
    return waits.p95[parts.size] / waits.level * parts.pace
