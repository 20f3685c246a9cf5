"""Which failed endpoint is retried, and after what pause."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from gateway.route.filters import Tier
from gateway.route.plan import Choice
from gateway.route.retry import LONGEST_DETOUR, LONGEST_PAUSE, MOST_FAILS, SOON, Retries
from gateway.types import FAULTS, Attempts, Failure, Fault, Policy, Score
from tests.route.world import NOW, plan, priced

USUAL = 0.5  # a draw in the middle: no pause is longer or shorter
POLICY = Policy("p", attempts=Attempts(retries=1), score=Score(value_of_time=3.6))  # 0.1 cents a second


def choices() -> tuple[Choice, Choice]:
    """The cheap one, which fails, and the dear one."""
    cheap, dear = plan(priced(cheap=0.2, dear=9.0), policy=POLICY).ranked
    return changed(cheap, score=0.001), changed(dear, score=0.01)


def failure(fault: str = "server", retry_after: float | None = None) -> Failure:
    return Failure(FAULTS[fault], "no", retry_after=retry_after)


def failed(
    choice: Choice, *failures: Failure, policy: Policy = POLICY, jitter: float = USUAL, took: float = 0.1
) -> Retries:
    retries = Retries(policy, jitter)
    for one in failures:
        retries.failed(choice, one, took, NOW)
    return retries


def pause(retries: Retries, other: Choice | None, alone: bool = False, now: float = NOW) -> float | None:
    again = retries.next(other, alone, now)
    return None if again is None else again.pause


@pytest.mark.parametrize(("jitter", "first"), [(0.0, 0.4), (0.5, 0.5), (1.0, 0.6)])
def test_pauses_double_and_are_spread_by_a_fifth(jitter: float, first: float) -> None:
    cheap, dear = choices()
    for times in range(1, 4):
        retries = failed(cheap, *[failure()] * times, jitter=jitter)
        assert pause(retries, dear) == pytest.approx(first * 2 ** (times - 1))


@pytest.mark.parametrize(("hint", "waited"), [(0.0, 0.1), (0.1, 0.1), (2.0, 2.0), (LONGEST_DETOUR, LONGEST_DETOUR)])
def test_a_retry_after_is_the_pause_of_a_tenth_of_a_second_at_least(hint: float, waited: float) -> None:
    cheap, dear = choices()
    assert pause(failed(cheap, failure(retry_after=hint)), dear) == pytest.approx(waited)


def test_the_time_since_the_failure_is_part_of_the_pause() -> None:
    cheap, dear = choices()
    retries = failed(cheap, failure(retry_after=2.0))
    assert pause(retries, dear, now=NOW + 1.5) == pytest.approx(0.5)
    assert pause(retries, dear, now=NOW + 9) == 0


def test_a_long_retry_after_is_waited_for_only_where_nothing_else_is_left() -> None:
    cheap, dear = choices()
    assert pause(failed(cheap, failure(retry_after=LONGEST_DETOUR + 0.1)), dear) is None
    for hint, waits in ((LONGEST_PAUSE, True), (LONGEST_PAUSE + 0.1, False)):
        assert (pause(failed(cheap, failure(retry_after=hint)), None, alone=True) is not None) is waits


def test_of_several_that_failed_the_one_that_is_ready_first_is_retried() -> None:
    cheap, dear = choices()
    retries = failed(cheap, failure(retry_after=5.0))
    retries.failed(dear, failure(retry_after=2.0), 0.1, NOW)
    again = retries.next(None, True, NOW)
    assert again is not None
    assert (again.choice, again.pause) == (dear, 2.0)
    retries.sent(dear, True)
    assert pause(retries, None, alone=True) == 5.0
    retries.sent(cheap, True)
    assert pause(retries, None, alone=True) is None


@pytest.mark.parametrize(("retries", "left"), [(0, False), (1, True)])
def test_while_others_are_left_there_are_as_many_retries_as_the_policy_allows(retries: int, left: bool) -> None:
    cheap, dear = choices()
    made = failed(cheap, failure(), policy=replace(POLICY, attempts=Attempts(retries=retries)))
    assert (pause(made, dear) is not None) is left
    made.sent(cheap, False)
    made.failed(cheap, failure(), 0.1, NOW)
    assert pause(made, dear) is None
    assert pause(made, None, alone=True) == pytest.approx(1.0), "and where nothing else is left, as many as may be"


def test_a_retry_where_nothing_else_is_left_uses_none_of_them() -> None:
    cheap, dear = choices()
    retries = failed(cheap, failure())
    retries.sent(cheap, True)
    retries.failed(cheap, failure(), 0.1, NOW)
    assert pause(retries, dear) is not None


def test_a_retry_must_cost_less_than_the_other_endpoint() -> None:
    """Half of the retries succeed, so a pause of 0.5 s costs the time of one second: 0.1 cents."""
    cheap, _ = choices()
    for more, retried in ((0.0009, False), (0.0011, True)):
        other = changed(cheap, score=cheap.score + more)
        assert (pause(failed(cheap, failure()), other) is not None) is retried
    assert pause(failed(cheap, failure()), None) is not None, "no other endpoint, but another model"


def test_a_worse_tier_or_rank_costs_more_than_any_pause() -> None:
    cheap, dear = choices()
    same = changed(cheap, score=0.0)
    assert pause(failed(cheap, failure()), changed(same, tier=Tier.BUSY)) is not None
    assert pause(failed(cheap, failure()), changed(same, rank=1.0)) is not None
    assert pause(failed(changed(cheap, tier=Tier.BUSY), failure()), dear) is None


def test_what_does_not_pass_is_not_retried() -> None:
    cheap, dear = choices()
    for fault in Fault:
        if not fault.transient:
            assert pause(failed(cheap, failure(), Failure(fault, "no")), dear) is None
            assert pause(failed(cheap, Failure(fault, "no")), None, alone=True) is None


def test_what_failed_late_is_no_accident_of_a_moment() -> None:
    cheap, dear = choices()
    for took, retried in ((SOON, True), (SOON + 0.1, False)):
        assert (pause(failed(cheap, failure(), took=took), dear) is not None) is retried
    assert pause(failed(cheap, failure(retry_after=1.0), took=SOON + 0.1), dear) == 1.0, "unless the host says when"


def test_an_endpoint_that_often_fails_is_not_retried_while_another_is_left() -> None:
    cheap, dear = choices()
    for fails, retried in ((MOST_FAILS, True), (MOST_FAILS + 0.01, False)):
        one = changed(cheap, parts=changed(cheap.parts, fails=fails))
        assert (pause(failed(one, failure()), dear) is not None) is retried
        assert pause(failed(one, failure()), dear, alone=True) is not None


def test_one_whose_breaker_has_opened_is_not_retried_while_another_is_left() -> None:
    cheap, dear = choices()
    retries = failed(cheap, failure())
    cheap.state.breaker.trip(NOW, 0.0, "server")
    assert pause(retries, dear) is None
    assert pause(retries, dear, alone=True) is not None
