"""What a source says about the price of one endpoint, in USD per 1M tokens whatever the source's unit.

    litellm's map    0.00000026       USD per token            x 1,000,000
    OpenRouter       "0.00000026"     the same, as text        x 1,000,000
    DeepInfra        0.26             USD per 1M tokens        x 1
    Novita           2600             1/10,000 USD per 1M      x 0.0001

A `PriceForm` says where a source has its prices, and the factor of its unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

PER_TOKEN = Decimal(1_000_000)
PER_MILLION = Decimal(1)
PER_MILLION_IN_10000THS = Decimal("0.0001")
HIGHEST = Decimal(1_000_000_000)  # USD per 1M tokens; a higher number is no price
LONGEST = 40  # characters of a number, and of what is quoted of a wrong one

Path = tuple[str, ...]  # the names of nested fields


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices in USD per 1M tokens; None where the source has none.

    `problem` says what cannot be read. `ends` is the date on which the model ends, empty where the source names none,
    None where it says nothing about ends. `flat`: the source has no tiers or hours for it.
    """

    source: str
    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    problem: str = ""
    ends: str | None = None
    flat: bool = True


@dataclass(frozen=True, slots=True)
class PriceForm:
    """Where an entry of a source has its prices, and what makes them USD per 1M tokens. If `unit` is a path, what
    stands there must be one of `units`, where None is nothing."""

    input: Path
    output: Path
    cached_input: Path
    factor: Decimal
    unit: Path = ()
    units: tuple[str | None, ...] = ()

    def read(self, entry: Mapping[str, Any], source: str) -> Quote:
        """The prices of an entry. A value that is no price makes the whole quote unusable."""
        if self.unit and (unit := _at(entry, self.unit)) not in self.units:
            return Quote(source, problem=f"{'.'.join(self.unit)}: `{_printable(str(unit))}` is another unit")
        prices: list[float | None] = []
        for path in (self.input, self.output, self.cached_input):
            value = _at(entry, path)
            try:
                prices.append(None if value is None else usd_per_million(value, self.factor))
            except ValueError as error:
                return Quote(source, problem=f"{'.'.join(path)}: {error}")
        return Quote(source, prices[0], prices[1], prices[2])


def usd_per_million(value: object, factor: Decimal) -> float:
    """A price as a source writes it, a number or text. Raises ValueError for what is no price."""
    text = str(value)
    try:
        number = None if isinstance(value, bool) or len(text) > LONGEST else Decimal(text) * factor
    except (InvalidOperation, ValueError):
        number = None
    if number is None or not number.is_finite() or not 0 <= number <= HIGHEST:
        raise ValueError(f"`{_printable(text)}` is not a price")
    return float(number)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST])


def _at(entry: object, path: Path) -> object:
    for name in path:
        entry = entry.get(name) if isinstance(entry, Mapping) else None
    return entry
