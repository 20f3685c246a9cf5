"""Hedges that overlap: neither share is exceeded at any moment, in whatever order their bills come."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.route.fleet import Fleet
from gateway.route.hedge import ENOUGH, SAMPLES, Budget, HedgeDelay
from gateway.types import Delay, Hedge
from tests.route.world import CHEAPEST, endpoint, plan, request

RIVAL = plan(Fleet([endpoint()]), request(), CHEAPEST).ranked[0]
DOLLARS = st.floats(0.0, 1e3)


class Hedging(RuleBasedStateMachine):
    @initialize(share=st.floats(0.0, 1.0), spend=st.floats(0.0, 1.0))
    def begin(self, share: float, spend: float) -> None:
        self.share, self.spend = share, spend
        self.budget = Budget(Hedge(Delay(quantile=0.97), share, spend))
        self.asked = self.hedges = 0
        self.spent = self.lost = 0.0
        self.stakes: list[float] = []

    @rule(cost=DOLLARS)
    def request(self, cost: float) -> None:
        self.budget.begin()
        self.budget.spent(cost)
        self.asked += 1
        self.spent += cost

    @rule(stake=DOLLARS)
    def hedge(self, stake: float) -> None:
        if self.budget.allows() and self.budget.affords(stake):
            self.budget.sent(stake, RIVAL)
            self.hedges += 1
            self.stakes.append(stake)

    @rule(billed=st.floats(0.0, 1.0))
    def loser_bills(self, billed: float) -> None:
        if self.stakes:
            stake = self.stakes.pop(0)
            self.budget.spent(stake * billed)
            self.budget.settled(stake, stake * billed, 1_000)
            self.spent += stake * billed
            self.lost += stake * billed

    @rule()
    def loser_has_failed(self) -> None:
        """Before the other began: it bills nothing more."""
        if self.stakes:
            self.budget.released(self.stakes.pop(0))

    @rule(seconds=st.floats(0.0, 1e3), tokens=st.floats(0.0, 1e6), times=st.integers(1, 300))
    def first_tokens_come(self, seconds: float, tokens: float, times: int) -> None:
        """Whatever is planned from them says when, not how much."""
        for _ in range(times):
            self.budget.add_wait(seconds, tokens)

    @rule(share=st.floats(0.0, 1.0), spend=st.floats(0.0, 1.0))
    def policy_changes(self, share: float, spend: float) -> None:
        """Savings stay, so that the largest shares so far hold."""
        self.budget.configure(Hedge(Delay(quantile=0.9), share, spend))
        self.share, self.spend = max(self.share, share), max(self.spend, spend)

    @rule(late=st.booleans())
    def request_is_late(self, late: bool) -> None:
        if late:
            self.budget.late()

    @invariant()
    def shares_hold(self) -> None:
        if hasattr(self, "budget"):
            assert self.hedges <= self.share * self.asked + 1e-9
            assert self.lost + sum(self.stakes) <= self.spend * self.spent + 1e-9 * (1 + self.spent)


class Waits(RuleBasedStateMachine):
    """Whatever was waited, no more of the last waits are late than was to be had, in number and in tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.lateness = HedgeDelay()
        self.waits: list[tuple[float, float]] = []

    @rule(seconds=st.floats(0.0, 1e6), tokens=st.floats(0.0, 1e6), times=st.integers(1, 400))
    def waited(self, seconds: float, tokens: float, times: int) -> None:
        for number in range(times):
            self.lateness.add(seconds + number, tokens)
            self.waits.append((seconds + number, tokens))
        self.waits = self.waits[-SAMPLES:]

    @precondition(lambda self: len(self.waits) >= ENOUGH)
    @rule(
        share=st.floats(0.0, 1.0),
        tokens=st.floats(0.0, 1e6),
        rival=st.floats(0.01, 100.0),
        scatter=st.floats(0.1, 3.0),
    )
    def plans(self, share: float, tokens: float, rival: float, scatter: float) -> None:
        self.lateness.optimise(share, tokens, rival, scatter)
        delay, largest = self.lateness.seconds, self.lateness.largest
        assert delay is not None
        assert any(delay == seconds for seconds, _ in self.waits)
        assert any(largest == size for _, size in self.waits)
        late = [size for seconds, size in self.waits if seconds > delay and size <= largest]
        assert len(late) <= share * len(self.waits) + 1e-6
        assert sum(late) <= tokens * len(self.waits) * (1 + 1e-9) + 1e-6


TestHedging = Hedging.TestCase
TestHedging.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWaits = Waits.TestCase
TestWaits.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
