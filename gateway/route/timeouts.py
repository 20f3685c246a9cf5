"""The timeouts of an attempt: to its first token where the host streams, else to the end of its answer.

    first token     the policy's timeout for this prompt; never under the endpoint's own p99, and short for a probe
    whole answer    the time of a slow first token there (at most that timeout), and the time to write the longest
                    likely answer at the endpoint's slow speed

The request to the host is streamed for every answer that may take long to write, also where the client does not
stream: then a silent host is detected by its missing first token, seconds later, and not after the longest time
that an answer may take. A short answer is requested whole, because each event of a stream costs about a tenth of a
request.

`Exchange` sets them as timers. Times are in seconds.
"""

from gateway.route.plan import Choice
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.types import Failure, Fault, Policy

LONG = 8.0  # seconds of writing from which the request to the host is streamed
SLOW = 1.5  # times the p99 of the first token, that a whole answer has before its length counts
PROBE = 3.0  # times the usual p95, that a probe waits for its first token


def for_prompt(seconds: float, choice: Choice, policy: Policy) -> float:
    """A timeout with `first_token_per_10k` added for the uncached tokens of this prompt."""
    return seconds + policy.timeouts.first_token_per_10k * choice.parts.uncached / 10_000


def first_token_timeout(choice: Choice, policy: Policy) -> float:
    """First-token timeout: the policy's, at least the endpoint's p99 if enough samples say so.

    For a probe it is at most `PROBE` times the usual p95, whatever the endpoint does now.
    """
    timeout = for_prompt(policy.timeouts.first_token, choice, policy)
    waits, parts = choice.state.waits, choice.parts
    if choice.state.breaker.until is not None:
        return min(timeout, PROBE * (waits.p95[parts.size] / waits.level * parts.pace))
    return max(timeout, waits.p99[parts.size] * parts.pace) if waits.known[parts.size] else timeout


def whole_answer_timeout(choice: Choice, policy: Policy, writing: float) -> float:
    """Timeout of an answer that is requested whole: a slow first token (from published figures until samples exist),
    and the seconds for `writing` the longest likely answer at the endpoint's p10 speed."""
    waits, parts = choice.state.waits, choice.parts
    slow = SLOW * waits.p99[parts.size] * parts.pace
    return min(slow, first_token_timeout(choice, policy)) + writing


def failure(timer: str, tried: TrackedAttempt, policy: Policy) -> Failure:
    """The failure of an attempt whose timer (`gap`, `total` or `first_token`) has expired."""
    if timer == "gap":
        return Failure(Fault.TIMEOUT_GAP, f"no progress for {policy.timeouts.gap:g} s")
    if timer == "total":
        most = policy.timeouts.stream if tried.request.stream else policy.timeouts.total
        return Failure(Fault.TIMEOUT_TOTAL, f"no end in {most:g} s")
    if tried.streams:
        return Failure(Fault.TIMEOUT_FIRST_TOKEN, f"no first token in {tried.timeout:.3g} s")
    return Failure(Fault.TIMEOUT_TOTAL, f"no answer in {tried.timeout:.3g} s")
