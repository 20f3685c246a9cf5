"""Hedges that overlap: neither share is exceeded at any moment, in whatever order their bills come."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.route.hedge import Budget
from gateway.route.late import Lateness
from gateway.types import Delay, Hedge

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
        self.budget.asked()
        self.budget.spent(cost)
        self.asked += 1
        self.spent += cost

    @rule(stake=DOLLARS)
    def hedge(self, stake: float) -> None:
        if self.budget.allows() and self.budget.affords(stake):
            self.budget.sent(stake)
            self.hedges += 1
            self.stakes.append(stake)

    @rule(billed=st.floats(0.0, 1.0))
    def loser_bills(self, billed: float) -> None:
        if self.stakes:
            stake = self.stakes.pop(0)
            self.budget.spent(stake * billed)
            self.budget.settled(stake, stake * billed)
            self.spent += stake * billed
            self.lost += stake * billed

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
    """Whatever was waited, `after` is 0 or about a wait that there was."""

    def __init__(self) -> None:
        super().__init__()
        self.lateness = Lateness()
        self.now = 0.0
        self.longest = 0.001

    @rule(seconds=st.floats(0.0, 1e6), times=st.integers(1, 40), pause=st.floats(0.0, 1e5))
    def waited(self, seconds: float, times: int, pause: float) -> None:
        self.now += pause
        self.longest = max(self.longest, seconds)
        for _ in range(times):
            self.lateness.waited(seconds, 0, self.now)

    @rule(share=st.floats(0.01, 1.0))
    def looks(self, share: float) -> None:
        assert 0.0 <= self.lateness.after(share, 0) <= 1.15 * self.longest


TestHedging = Hedging.TestCase
TestHedging.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWaits = Waits.TestCase
TestWaits.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
