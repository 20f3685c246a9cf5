"""Which quoted prices are applied, and which are only shown.

    not readable, or without input or output          missing    never taken
    the model ended on a day that has come            deprecated not taken
    a price of 0                                      zero       taken if accepted
    the endpoint's price or the quote has tiers/hours tiers      never taken: one flat price would be wrong
    no price so far                                   new        taken if accepted: it would put the endpoint into use
    more than twice the price in force or the last
    one that a person confirmed, or less than half of
    either; a cached price above the input price or
    under a hundredth of it                           jump       taken if accepted
    anything else                                     taken

A source that has no cached price leaves the one in force. The catalogue's price and
accepted prices count as confirmed by a person: many small changes come no further from a confirmed price than one may.
"""

from dataclasses import dataclass
from datetime import date

from gateway.prices.price_book import PriceChange
from gateway.prices.quote import Quote
from gateway.types import Price
from gateway.types.price import PriceFlag

JUMP = 2.0  # times the price in force, or its inverse
DEEPEST = 0.01  # of the input price, what a cached price may be
SAME = 1e-9  # of two prices, relative
KINDS = ("input", "cached_input", "output")


@dataclass(frozen=True, slots=True)
class Offer:
    """A quote's prices in USD per 1M tokens."""

    input: float
    output: float
    cached_input: float | None


@dataclass(frozen=True, slots=True)
class PriceVerdict:
    """`offer` is what the quote says, None where it has no price; `changes`: it differs from the price in force;
    `taken`: it comes into force. `flags` are kinds with what to look at."""

    offer: Offer | None
    changes: bool
    taken: bool
    flags: tuple[tuple[PriceFlag, str], ...] = ()


def judged(
    quote: Quote, price: Price | None, confirmed: PriceChange | Price | None, accepted: bool, today: date
) -> PriceVerdict:
    """`price` is the one in force, `confirmed` the last that a person confirmed; `accepted`: a person takes it."""
    ended = has_ended(quote.ends, today)
    flags: list[tuple[PriceFlag, str]] = []
    if quote.ends:
        verb = "ended" if ended else "ends"
        flags.append(("deprecated", f"{quote.source}: {verb} on {quote.ends}"))
    if quote.problem or quote.input is None or quote.output is None:
        lacking = "input" if quote.input is None else "output"
        flags.append(("missing", f"{quote.source}: {quote.problem or f'no price for {lacking}'}"))
        return PriceVerdict(None, False, False, tuple(flags))
    offer = Offer(quote.input, quote.output, _cached(quote, quote.input, price))
    if not _differs(offer, price):
        return PriceVerdict(offer, False, False, tuple(flags))
    flat = quote.flat and not (price and (price.tiers or price.hours))
    doubt = _doubt(offer, quote, flat, price) or _strayed(offer, confirmed)
    if doubt:
        flags.append((doubt[0], f"{quote.source}: {doubt[1]}"))
    taken = flat and (accepted or not (doubt or ended))
    return PriceVerdict(offer, True, taken, tuple(flags))


def has_ended(ends: str | None, today: date) -> bool:
    """Whether the day has come."""
    return ends is not None and ends != "" and date.fromisoformat(ends) <= today


def _cached(quote: Quote, new_input: float, price: Price | None) -> float | None:
    if quote.cached_input is not None or price is None or price.cached_input is None:
        return quote.cached_input
    return min(price.cached_input, new_input) or None


def _differs(offer: Offer, price: Price | None) -> bool:
    return price is None or any(not _same(getattr(offer, kind), getattr(price, kind)) for kind in KINDS)


def _same(new: float | None, old: float | None) -> bool:
    if new is None or old is None:
        return new is old
    return abs(new - old) <= SAME * max(new, old)


def _doubt(offer: Offer, quote: Quote, flat: bool, price: Price | None) -> tuple[PriceFlag, str] | None:
    """Why a person should look first; None where nothing is unusual."""
    if zero := [kind for kind in KINDS if getattr(offer, kind) == 0]:
        return "zero", f"a price of 0 for {', '.join(zero)}"
    if not flat:
        return "tiers", "the price has tiers or hours; give it in gateway.yaml"
    if quote.cached_input is not None and not DEEPEST <= quote.cached_input / offer.input <= 1:
        return "jump", f"cached_input {quote.cached_input:g} with input {offer.input:g}"
    if price is None:
        return "new", f"a first price, {offer.input:g} / {offer.output:g}"
    jumps = [one for kind in KINDS if (one := _jump(kind, getattr(offer, kind), getattr(price, kind)))]
    return ("jump", ", ".join(jumps)) if jumps else None


def _strayed(offer: Offer, confirmed: PriceChange | Price | None) -> tuple[PriceFlag, str] | None:
    """Whether small steps have come too far from the price that was confirmed."""
    if confirmed is None:
        return None
    jumps = [
        one for kind in ("input", "output") if (one := _jump(kind, getattr(offer, kind), getattr(confirmed, kind)))
    ]
    return ("jump", f"since it was confirmed: {', '.join(jumps)}") if jumps else None


def _jump(kind: str, new: float | None, old: float | None) -> str:
    if new is None or old is None or (old and 1 / JUMP <= new / old <= JUMP):
        return ""
    return f"{kind} {old:g} -> {new:g}"
