"""What is taken of a quote, and what is only shown."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prices.litellm_map import map_in
from gateway.prices.price_check import PriceVerdict, judged
from gateway.prices.quote import Quote
from gateway.types import Endpoint, Price
from gateway.types.price import PriceTier, Window
from tests.prices.recorded import ENTRIES, litellm_map

IN_FORCE = Price(0.25, 0.5, 0.125)
TODAY = date(2026, 11, 18)


def quote_of(folder: Path, name: str) -> Quote:
    """The recorded entry, read as a sync reads it."""
    found = map_in(litellm_map(folder, entry=ENTRIES[name]), "litellm 1.110.2")
    return found.quotes([Endpoint("x", "novita", "http://h", "entry")])["x"]


def verdict_on(folder: Path, name: str, accepted: bool = False, price: Price | None = IN_FORCE) -> PriceVerdict:
    return judged(quote_of(folder, name), price, price, accepted, TODAY)


@pytest.mark.parametrize("name", ["changed", "as-text", "ends", "no-date"])
def test_an_ordinary_change_is_taken(tmp_path: Path, name: str) -> None:
    verdict = verdict_on(tmp_path, name)
    assert verdict.taken
    assert verdict.offer is not None
    assert (verdict.offer.input, verdict.offer.output) == pytest.approx((0.27, 0.41))


def test_the_same_price_is_no_change(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, "same")
    assert (verdict.changes, verdict.taken, verdict.flags) == (False, False, ())


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("zero", "zero", "a price of 0 for input, output"),
        ("no-price", "missing", "no price for input"),
        ("null", "missing", "no price for output"),
        ("another-version", "missing", "no price for input"),
        ("NaN", "missing", "input_cost_per_token: `nan` is not a price"),
        ("infinite", "missing", "output_cost_per_token: `inf` is not a price"),
        ("negative", "missing", "input_cost_per_token: `-1` is not a price"),
        ("true", "missing", "input_cost_per_token: `True` is not a price"),
        ("a-list", "missing", "input_cost_per_token: `[2.7e-07]` is not a price"),
        ("per-million", "jump", "input 0.25 -> 270000, output 0.5 -> 410000"),
        ("per-thousand", "jump", "input 0.25 -> 270, output 0.5 -> 410"),
        ("fell", "jump", "input 0.25 -> 0.1"),
        ("tiers", "tiers", "the price has tiers or hours; give it in gateway.yaml"),
        ("cached-above-input", "jump", "cached_input 0.4 with input 0.27"),
        ("cached-per-token-twice", "jump", "cached_input 1.35e-07 with input 0.27"),
    ],
)
def test_what_is_unusual_is_shown_and_not_taken(tmp_path: Path, name: str, kind: str, text: str) -> None:
    verdict = verdict_on(tmp_path, name)
    assert not verdict.taken
    assert verdict.flags == ((kind, f"litellm 1.110.2: {text}"),)


@pytest.mark.parametrize("name", ["zero", "per-million", "fell", "cached-above-input", "ended"])
def test_a_person_may_take_it(tmp_path: Path, name: str) -> None:
    assert verdict_on(tmp_path, name, accepted=True).taken


@pytest.mark.parametrize("name", ["no-price", "NaN", "tiers"])
def test_what_is_no_single_price_cannot_be_taken(tmp_path: Path, name: str) -> None:
    assert not verdict_on(tmp_path, name, accepted=True).taken


@pytest.mark.parametrize(
    "price",
    [
        Price(0.25, 0.5, tiers=(PriceTier(1000, 1.0, 2.0),)),
        Price(0.25, 0.5, hours=(Window(0, 8, 0.1, 0.2),)),
    ],
)
def test_one_price_does_not_replace_tiers_or_hours(tmp_path: Path, price: Price) -> None:
    verdict = verdict_on(tmp_path, "changed", accepted=True, price=price)
    assert (verdict.taken, [kind for kind, _ in verdict.flags]) == (False, ["tiers"])


def test_an_end_is_shown_and_after_it_nothing_is_taken(tmp_path: Path) -> None:
    assert verdict_on(tmp_path, "ends").flags == (("deprecated", "litellm 1.110.2: ends on 2027-11-01"),)
    ended = verdict_on(tmp_path, "ended")
    assert (ended.taken, ended.flags) == (False, (("deprecated", "litellm 1.110.2: ended on 2026-10-21"),))


def test_a_first_price_needs_a_person(tmp_path: Path) -> None:
    """It would put the endpoint into use."""
    verdict = verdict_on(tmp_path, "changed", price=None)
    assert (verdict.taken, verdict.flags[0][0]) == (False, "new")
    assert verdict_on(tmp_path, "changed", accepted=True, price=None).taken


def test_a_source_without_a_cached_price_leaves_the_one_in_force(tmp_path: Path) -> None:
    offer = verdict_on(tmp_path, "as-text").offer
    assert offer is not None
    assert offer.cached_input == 0.125
    cheaper = judged(Quote("x", 0.13, 0.5), Price(0.25, 0.5, 0.2), None, False, TODAY).offer
    assert cheaper is not None
    assert cheaper.cached_input == 0.13, "never above the input price"


PRICES = st.floats(0.001, 1000.0)


@given(PRICES, PRICES, PRICES, PRICES)
def test_what_is_taken_by_itself_is_within_a_factor_of_two(a: float, b: float, c: float, d: float) -> None:
    verdict = judged(Quote("x", c, d), Price(a, b), None, False, TODAY)
    if verdict.taken:
        assert 0.5 <= c / a <= 2
        assert 0.5 <= d / b <= 2
    assert verdict.taken == (verdict.changes and not verdict.flags)
