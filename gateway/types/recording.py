"""A recording of live traffic: its file, and the salt that keeps it anonymous."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recording:
    """One file that all workers write to. `began` is unix time. `salt` keys the hashes: it is never written, so that
    known prompts cannot be recognised."""

    path: Path
    began: float
    salt: bytes = field(repr=False)
