"""When a request counts as late, and which prompts are too large to be read twice."""

from math import erfc, inf, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.route.hedge import ENOUGH, EVERY, LOOKED_AT, SAMPLES, SIZES, TAIL, HedgeDelay

ALL = inf, 0.5, 0.6  # any number of tokens, and a rival that usually begins after 0.5 s
Waits = list[tuple[float, float]]


def waited(*waits: tuple[float, float]) -> HedgeDelay:
    delays = HedgeDelay()
    for seconds, tokens in waits:
        delays.add(seconds, tokens)
    return delays


def spread(count: int, first: float, tokens: float) -> Waits:
    """So many waits from this time on, all different."""
    return [(first + number / 1_000, tokens) for number in range(count)]


# --- when it is planned -----------------------------------------------------------------------------------------


def test_nothing_is_known_before_it_was_planned() -> None:
    delays = waited(*spread(EVERY, 1.0, 1_000))
    assert (delays.seconds, delays.largest) == (None, inf)


def test_it_is_planned_anew_every_so_many_waits() -> None:
    delays = HedgeDelay()
    times = [number for number in range(1, 5 * EVERY + 1) if delays.add(1.0, 1_000)]
    assert ENOUGH <= EVERY
    assert times == [EVERY, 2 * EVERY, 3 * EVERY, 4 * EVERY, 5 * EVERY]


def test_the_oldest_waits_are_forgotten() -> None:
    delays = waited(*spread(SAMPLES, 50.0, 1_000), *spread(SAMPLES - 1, 1.0, 1_000))
    delays.optimise(1.0, *ALL)
    assert delays.seconds is not None
    assert delays.seconds < 50.0


def test_the_oldest_waits_are_replaced_first() -> None:
    delays = waited(*spread(SAMPLES // 2, 50.0, 1_000), *spread(SAMPLES, 1.0, 1_000))
    delays.optimise(0.0, *ALL)
    assert delays.seconds == pytest.approx(1.0 + (SAMPLES - 1) / 1_000)


# --- how long ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "delay"), [(0.0, 1.999), (0.01, 1.989), (0.05, 1.949)])
def test_the_share_of_requests_is_all_spent(share: float, delay: float) -> None:
    delays = waited(*spread(1_000, 1.0, 1_000))
    delays.optimise(share, *ALL)
    assert delays.seconds == pytest.approx(delay)


def test_no_more_are_late_than_are_looked_at() -> None:
    delays = waited(*spread(1_000, 1.0, 1_000))
    delays.optimise(1.0, *ALL)
    assert delays.seconds == pytest.approx(2.0 - LOOKED_AT)


def test_the_tokens_are_not_overspent_either() -> None:
    """20 tokens a request read 20 of 1,000 prompts again."""
    delays = waited(*spread(1_000, 1.0, 1_000))
    delays.optimise(1.0, 20.0, 0.5, 0.6)
    assert delays.seconds == pytest.approx(1.979)


# --- how large --------------------------------------------------------------------------------------------------


def test_few_large_prompts_leave_what_can_be_paid_to_many_small_ones() -> None:
    """Half a per cent wait 15 s for 100,000 tokens to be read; 2.5 % of the small ones wait 10 s for no reason."""
    delays = waited(*spread(970, 1.0, 1_000), *spread(25, 10.0, 1_000), *spread(5, 15.0, 100_000))
    delays.optimise(0.03, 30.0, 0.5, 0.6)
    assert delays.largest == 1_000
    assert delays.seconds == pytest.approx(1.965, abs=0.006), "30 small ones are late"


def test_large_prompts_are_read_twice_where_they_are_the_tail_and_can_be_paid() -> None:
    waits = *spread(975, 1.0, 1_000), *spread(25, 15.0, 100_000)
    rich, poor = waited(*waits), waited(*waits)
    rich.optimise(0.03, 3_000.0, 0.5, 0.6)
    assert rich.largest == 100_000
    assert rich.seconds is not None
    assert rich.seconds < 2.0
    poor.optimise(0.03, 100.0, 0.5, 0.6)
    assert poor.seconds is not None
    assert sum(seconds > poor.seconds and tokens <= poor.largest for seconds, tokens in waits) <= 30


def test_of_plans_that_are_as_good_the_one_for_the_larger_prompts_is_taken() -> None:
    delays = waited(*spread(500, 1.0, 1_000), *spread(500, 1.5, 2_000))
    delays.optimise(0.0, *ALL)
    assert delays.largest == 2_000


# --- for any waits ----------------------------------------------------------------------------------------------


def hedged(waits: Waits, delay: float, largest: float) -> Waits:
    return [(seconds, tokens) for seconds, tokens in waits if seconds > delay and tokens <= largest]


def tail(waits: Waits, delay: float, largest: float, rival: float, scatter: float) -> float:
    """The longest wait that at least `TAIL` of all requests are expected to reach beyond, plainly: a hedged one takes
    longer if its rival does."""

    def exceeds(seconds: float) -> float:
        if seconds <= 0:
            return 1.0
        return erfc(log(seconds / rival) / scatter / sqrt(2)) / 2

    def beyond(limit: float) -> float:
        longer = [wait for wait in waits if wait[0] > limit]
        races = len(hedged(longer, -1.0, largest))
        return races * exceeds(limit - delay) + len(longer) - races

    return max(seconds for seconds, _ in waits if beyond(seconds) >= TAIL * len(waits))


def delay_for(waits: Waits, largest: float, share: float, tokens: float) -> float:
    """The shortest wait beyond which neither is overspent."""

    def payable(delay: float) -> bool:
        late = hedged(waits, delay, largest)
        return len(late) <= share * len(waits) and sum(size for _, size in late) <= tokens * len(waits)

    looked_at = sorted(seconds for seconds, _ in waits)[-max(2, int(LOOKED_AT * len(waits))) :]
    return min(seconds for seconds in looked_at if payable(seconds))


many_waits = st.lists(
    st.tuples(st.integers(1, 60_000), st.sampled_from([200.0, 1_000.0, 1_500.0, 20_000.0, 90_000.0])),
    min_size=128,
    max_size=200,
    unique_by=lambda wait: wait[0],
).map(lambda waits: [(thousandths / 1_000, tokens) for thousandths, tokens in waits])


@settings(max_examples=40)
@given(
    many_waits,
    st.floats(0.0, 0.2),
    st.sampled_from([0.0, 50.0, 500.0, 5_000.0, inf]),
    st.floats(0.1, 5.0),
    st.floats(0.2, 1.5),
)
def test_the_pair_with_the_lowest_p99_is_taken_of_those_that_can_be_paid(
    waits: Waits, share: float, tokens: float, rival: float, scatter: float
) -> None:
    delays = waited(*waits)
    delays.optimise(share, tokens, rival, scatter)
    assert delays.seconds is not None
    late = hedged(waits, delays.seconds, delays.largest)
    assert len(late) <= share * len(waits) + 1e-9
    assert sum(size for _, size in late) <= tokens * len(waits) + 1e-6

    sizes = sorted(size for _, size in waits)
    limits = {sizes[min(len(sizes) - 1, int(quantile * len(sizes)))] for quantile in SIZES}
    best = min(tail(waits, delay_for(waits, size, share, tokens), size, rival, scatter) for size in limits)
    assert tail(waits, delays.seconds, delays.largest, rival, scatter) == best
