"""Numbers with a unit.

Operators write `30s`, `$0.50/h`, `3%`; internally every value is a plain float in one base unit. The `Unit` in the
annotation defines how the YAML reader parses the text, and how the schema describes it. A number without its unit is
an error, because `gap: 30` could be meant as milliseconds.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

UnitName = Literal["duration", "share", "usd", "usd_per_hour", "bytes"]


@dataclass(frozen=True, slots=True)
class Unit:
    """How a number is written: the unit's name, an example for messages, and a pattern for editors."""

    name: UnitName
    example: str
    pattern: str


DURATION = Unit("duration", "30s", r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$")
SHARE = Unit("share", "3%", r"^[0-9]+(\.[0-9]+)?%$")
USD = Unit("usd", "$0.002", r"^\$[0-9]+(\.[0-9]+)?$")
USD_PER_HOUR = Unit("usd_per_hour", "$0.50/h", r"^\$[0-9]+(\.[0-9]+)?/h$")
BYTES = Unit("bytes", "16MiB", r"^[0-9]+(B|KiB|MiB|GiB)$")

Seconds = Annotated[float, DURATION]
Share = Annotated[float, SHARE]  # 0.03 for 3%
RETRY_SHARE = 0.2  # of requests, that may have attempts beyond the first: the default
Usd = Annotated[float, USD]
UsdPerHour = Annotated[float, USD_PER_HOUR]
Bytes = Annotated[int, BYTES]

PICO = 1_000_000_000_000  # money is kept as an integer of 1e-12 USD; prices are USD per 1M tokens
