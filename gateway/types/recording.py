"""A recording of live traffic: where it goes, and what keeps it anonymous."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recording:
    """One file that all workers write to. `began` is unix time; without `salt` no prefix in it can be recognised, so
    it is kept nowhere."""

    path: Path
    began: float
    salt: bytes = field(repr=False)
