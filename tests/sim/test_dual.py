from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.sim.dual import MOST, Bill, Climb, Dual

cents = st.integers(0, 100)
bills = st.integers(1, 3).flatmap(
    lambda hosts: st.lists(
        st.tuples(st.integers(1, 9), st.lists(cents, min_size=hosts, max_size=hosts)), min_size=1, max_size=6
    )
)


def top(found: list[Bill], share: float) -> float:
    return Climb(Dual(found, share)).top()


def cheapest(found: list[Bill], share: float) -> float | None:
    """The least dollars of whole requests at hosts that all keep to their share; None where they cannot."""
    hosts = range(len(found[0][1]))
    limit = share * sum(tokens for tokens, _ in found) + 1e-9
    least = None
    for places in product(hosts, repeat=len(found)):
        loads = [0] * len(hosts)
        for (tokens, _), place in zip(found, places, strict=True):
            loads[place] += tokens
        if max(loads) <= limit:
            paid = sum(dollars[place] for (_, dollars), place in zip(found, places, strict=True))
            least = paid if least is None else min(least, paid)
    return least


@settings(deadline=None)
@given(bills, st.floats(0.34, 1.0))
def test_no_assignment_within_the_cap_pays_less(found: list[Bill], share: float) -> None:
    least = cheapest(found, share)
    assume(least is not None)
    assert least is not None
    assert top(found, share) <= least + 1e-6


@settings(deadline=None)
@given(bills, st.floats(0.0, 1.0))
def test_every_bound_on_the_way_counts_and_the_way_ends(found: list[Bill], share: float) -> None:
    climb = Climb(Dual(found, share))
    assert 0 <= climb.best <= climb.top()
    assert climb.computed <= MOST


split = st.lists(st.tuples(st.integers(1, 1_000), cents, cents), min_size=1, max_size=40)


@settings(deadline=None)
@given(split, st.floats(0.5, 1.0))
def test_of_two_hosts_it_is_what_the_best_split_of_requests_pays(
    found: list[tuple[int, int, int]], share: float
) -> None:
    """The one host gets those that lose most by leaving it, one of them in part: the program solved by hand."""
    total = sum(tokens for tokens, _, _ in found)
    paid = float(sum(dear for _, _, dear in found))
    room, owed = share * total, (1 - share) * total
    for tokens, cheap, dear in sorted(found, key=lambda one: (one[1] - one[2]) / one[0]):
        wanted = tokens if cheap < dear else max(0.0, min(tokens, owed))
        moved = min(wanted, room)
        paid += (cheap - dear) * moved / tokens
        room, owed = room - moved, owed - moved
    assert top([(tokens, (cheap, dear)) for tokens, cheap, dear in found], share) == pytest.approx(paid, rel=1e-3)


def test_twins_above_their_share_get_a_toll_together() -> None:
    """A toll for one of them alone would only send everything to the other."""
    found: list[Bill] = [(100, (10.0, 10.0, 50.0)) for _ in range(100)]
    assert top(found, 0.35) == pytest.approx(10.0 * 70 + 50.0 * 30, rel=1e-4)


def test_a_host_that_is_a_hundred_times_as_dear_is_reached() -> None:
    """Tokens that are nearly all cached cost next to nothing where hits are cheap: tolls are many times that price."""
    found: list[Bill] = [(1_000, (1.0 + place / 100, 1.1, 30.0, 100.0)) for place in range(100)]
    cheap = sum(1.0 + place / 100 for place in range(10)) + 20 * 1.1
    assert top(found, 0.3) > 30 * 30.0 + 10 * 100.0 + cheap


def test_a_cap_that_all_together_could_not_keep_is_an_equal_part() -> None:
    found: list[Bill] = [(100, (10.0, 20.0)) for _ in range(10)]
    assert top(found, 0.1) == pytest.approx(150.0, rel=1e-4)


def test_requests_that_cost_nothing_have_a_floor_of_nothing() -> None:
    assert top([(100, (0.0, 0.0)), (0, (0.0, 0.0))], 0.5) == 0.0
