"""When a request is hedged, which endpoint the hedge goes to, and what hedging may cost.

    each streamed request   saves max_share             a hedge takes 1
    each attempt's cost     saves max_spend of it       a hedge takes what is at stake, until the loser's bill is known

    first-token times of a policy (seconds, uncached tokens) ──HedgeDelay──> delay, largest prompt

The hedge delay is the policy's own, or one that spends what both shares allow. It is absolute and holds for all
requests of a policy, whichever endpoint they went to: if each endpoint were measured against its own answers, a slow
one would never be late. Large prompts use the allowed tokens up quickly, so each limit of prompt size has its own delay
that uses up the budget; the pair with the lowest p99, estimated from the last first-token times, is used.

Savings never go below what a hedge takes, so its shares of requests and of spend are kept at every moment, not only on
average. They are bounded, so that a quiet day does not pay for a storm. Where a large part of all requests is late the
hosts are saturated, and more load would only slow them further: then nothing is hedged at all.
"""

from collections.abc import Callable
from functools import partial
from math import erfc, inf, log, sqrt
from operator import itemgetter

from gateway.route.filters import Tier, tier
from gateway.route.plan import Choice
from gateway.types import NEVER, Hedge, Policy

KEPT = 20.0  # the largest accrued budget, in hedges, and in usual costs of an attempt
LATE_OVER = 100.0  # requests over which the share of late ones is taken
LATE_SHARE = 0.25  # late requests from which hosts count as saturated
MOST_FAILS = 0.2  # an endpoint with a higher failure share gets no hedge
MOST_BUDGETS = 256
USUAL_OVER = 50.0  # hedges, or requests, that count for what they usually cost
USED = 0.95  # of what may be spent, that delays are planned for: late requests come in bursts
QUICK = 0.5, 0.6  # seconds to a rival's first token, and the scatter of their logarithm, until hedges show it
SAMPLES = 4_096  # first-token times that are kept
ENOUGH = 128  # of them, before a delay is computed
EVERY = 128  # of them between two computations
TAIL = 0.01  # of requests: the time that only these exceed is minimised
LOOKED_AT = 0.125  # of them, the longest: the others are never late
SIZES = (0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # candidates for the largest prompt, as quantiles of prompts

_seconds, _tokens = itemgetter(0), itemgetter(1)


class HedgeDelay:
    """After how many `seconds` a request of one policy is late (None while there are too few samples), and how many
    uncached tokens the `largest` prompt has that may be hedged.
    """

    __slots__ = ("_waits", "_written", "largest", "seconds")

    def __init__(self) -> None:
        self._waits: list[tuple[float, float]] = []
        self._written = 0
        self.seconds: float | None = None
        self.largest = inf

    def add(self, seconds: float, uncached: float) -> bool:
        """Adds a time to first token, possibly censored. True when `optimise` should run."""
        if len(self._waits) < SAMPLES:
            self._waits.append((seconds, uncached))
        else:
            self._waits[self._written % SAMPLES] = seconds, uncached
        self._written += 1
        return self._written % EVERY == 0 and len(self._waits) >= ENOUGH

    def optimise(self, share: float, tokens: float, rival: float, scatter: float) -> None:
        """Takes the best pair for at most this `share` of requests and `tokens` per request.

        A rival's first token usually comes after `rival` seconds; `scatter` is the standard deviation of its logarithm.
        """
        waits = self._waits
        sizes = sorted(map(_tokens, waits))
        late = sorted(waits, key=_seconds, reverse=True)[: max(2, int(LOOKED_AT * len(waits)))]
        exceeds = partial(_exceeds, rival=rival, scatter=scatter)
        plans = []
        for quantile in SIZES:
            largest = sizes[min(len(sizes) - 1, int(quantile * len(sizes)))]
            delay = _delay(late, largest, share * len(waits), tokens * len(waits))
            plans.append((_tail(late, largest, delay, exceeds, TAIL * len(waits)), -largest, delay))
        _, negative, self.seconds = min(plans)
        self.largest = -negative

    def __repr__(self) -> str:
        return f"<HedgeDelay {self.seconds} s, up to {self.largest:g} tokens>"


class Budget:
    """What one policy has saved for hedges: a number of them, and dollars."""

    __slots__ = ("_bill", "_cost", "_delay", "_hedges", "_late", "_late_share", "_rival", "_usd", "rule")

    def __init__(self, rule: Hedge) -> None:
        self.configure(rule)
        self._hedges = 0.0
        self._usd = 0.0  # below 0 when a loser has billed more than was at stake
        self._late = 0.0
        self._delay = HedgeDelay()
        self._cost = 0.0  # dollars that a request usually costs
        self._bill = 0.0  # and that a hedge adds for each token that it reads
        self._rival = QUICK

    def configure(self, rule: Hedge) -> None:
        """Takes a (changed) rule; what was saved under the other one stays."""
        self.rule = rule
        expected = 1 - (rule.after.quantile or 1.0)
        self._late_share = max(LATE_SHARE, 2 * expected)

    def begin(self) -> None:
        """A streamed request begins."""
        self._hedges = min(KEPT, self._hedges + self.rule.max_share)
        self._late -= self._late / LATE_OVER

    def late(self) -> None:
        """A request's first token has not come after the policy's delay."""
        self._late += 1 / LATE_OVER

    def late_after(self, choice: Choice) -> float:
        """Hedge delay in seconds: the policy's, or the one that spends its budget; the endpoint's expected p95 until
        there are enough samples. Infinite where the prompt is too large to be read twice.
        """
        seconds, share = self.rule.after
        if share is None:
            return seconds or 0.0
        parts, delay = choice.parts, self._delay
        if delay.seconds is None:
            return choice.state.waits.p95[parts.size] * parts.pace
        return delay.seconds if parts.uncached <= delay.largest else inf

    def add_wait(self, seconds: float, uncached: float) -> None:
        """Adds a time to first token, possibly censored."""
        quantile = self.rule.after.quantile
        if quantile is not None and self._delay.add(seconds, uncached):
            self._delay.optimise(min(1 - quantile, self.rule.max_share), self._payable(), *self._rival)

    def allows(self) -> bool:
        """Whether another hedge keeps to the share of requests, and hosts are not saturated."""
        return self._hedges >= 1 and self._late <= self._late_share

    def affords(self, usd: float) -> bool:
        return usd <= self._usd or not usd

    def sent(self, at_stake: float, rival: Choice) -> None:
        """A hedge was sent to `rival`; the loser will bill `at_stake` USD at most."""
        self._hedges -= 1
        self._usd -= at_stake
        median, scatter = self._rival
        median += (median_wait(rival) - median) / USUAL_OVER
        self._rival = median, scatter + (rival.state.waits.scatter[rival.parts.size] - scatter) / USUAL_OVER

    def released(self, at_stake: float) -> None:
        """Nothing more than what was booked will be billed for the loser."""
        self._usd += at_stake

    def settled(self, at_stake: float, usd: float, uncached: float) -> None:
        """The loser billed `usd` for `uncached` tokens; `at_stake` was set aside for it."""
        self._usd += at_stake - usd
        bill = usd / max(1.0, uncached)
        self._bill += (bill - self._bill) / USUAL_OVER if self._bill else bill

    def spent(self, usd: float) -> None:
        """Adds to the budget a share of any attempt's cost."""
        self._cost += (usd - self._cost) / USUAL_OVER
        self._usd = min(max(self._usd, KEPT * self._cost), self._usd + self.rule.max_spend * usd)

    def _payable(self) -> float:
        """Tokens a request that second readings may bill."""
        return USED * self.rule.max_spend * self._cost / self._bill if self._bill else inf

    def __repr__(self) -> str:
        return f"<Budget {self._hedges:.2f} hedges, ${self._usd:.6f}, {self._late:.0%} late>"


class Budgets:
    """The budget of every policy that hedges, by model and the policy's name: it outlives a reload of the file."""

    __slots__ = ("_budgets",)

    def __init__(self) -> None:
        self._budgets: dict[tuple[str, str], Budget] = {}

    def of(self, policy: Policy, model: str) -> Budget | None:
        """The policy's budget for this model; None where it does not hedge."""
        rule = policy.hedge
        if rule.after == NEVER:
            return None
        key = model, policy.name
        budget = self._budgets.get(key)
        if budget is None:
            if len(self._budgets) >= MOST_BUDGETS:
                del self._budgets[next(iter(self._budgets))]  # the oldest
            budget = self._budgets[key] = Budget(rule)
        elif budget.rule is not rule:
            budget.configure(rule)
        return budget

    def __repr__(self) -> str:
        return f"<Budgets {self._budgets}>"


def at_stake(choice: Choice) -> float:
    """Dollars that a host is expected to bill for an attempt that is cancelled before its first token."""
    parts = choice.parts
    return parts.usd if choice.endpoint.cancel == "bills" else parts.input_usd


def rival(untried: tuple[Choice, ...], late: Choice, policy: Policy, budget: Budget, now: float) -> Choice | None:
    """The endpoint for a hedge, if the budget allows one: the lowest median time to first token of the best tier, among
    those that are free, mostly succeed, and can be paid."""
    if not budget.allows():
        return None
    risk = at_stake(late)
    free = [one for one in untried if _is_free(one, policy, now) and budget.affords(max(risk, at_stake(one)))]
    return min(free, key=_soonest, default=None)


def _is_free(choice: Choice, policy: Policy, now: float) -> bool:
    worst = max(choice.tier, tier(choice.state, policy, now)[0])  # it may have become busy since it was planned
    return worst < Tier.OVER_CAP and choice.parts.fails <= MOST_FAILS


def median_wait(choice: Choice) -> float:
    """Median time to first token of such prompts there, in seconds: what usually wins a race, however slow its tail."""
    return choice.state.waits.p50[choice.parts.size] * choice.parts.pace


def _soonest(choice: Choice) -> tuple[Tier, float]:
    return choice.tier, median_wait(choice)


def _delay(late: list[tuple[float, float]], largest: float, requests: float, tokens: float) -> float:
    """The shortest delay at which hedges of prompts up to `largest` stay within `requests` and `tokens`."""
    for seconds, uncached in late:
        if uncached <= largest:
            requests -= 1
            tokens -= uncached
            if requests < 0 or tokens < 0:
                return seconds
    return late[-1][0]


def _tail(
    late: list[tuple[float, float]], largest: float, delay: float, exceeds: Callable[[float], float], beyond: float
) -> float:
    """The wait that `beyond` of these are expected to exceed, if prompts up to `largest` are hedged after `delay`."""
    hedged = single = 0
    for seconds, uncached in late:
        if hedged * exceeds(seconds - delay) + single >= beyond:
            return seconds
        if uncached <= largest:
            hedged += 1
        else:
            single += 1
    return late[-1][0]


def _exceeds(seconds: float, rival: float, scatter: float) -> float:
    """The probability that the hedge's first token takes longer than this."""
    return 0.5 * erfc(log(seconds / rival) / scatter / sqrt(2)) if seconds > 0 else 1.0
