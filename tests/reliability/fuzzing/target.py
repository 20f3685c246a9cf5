"""One thing that is fuzzed: a strategy for its inputs, and a check that raises for a crash."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Check = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Target:
    """`open` prepares what all executions share and gives the check, which raises anything for a crash."""

    name: str
    inputs: st.SearchStrategy[Any]
    open: Callable[[], AbstractContextManager[Check]]
    batch: int = 1_000  # executions of one seed: a few seconds' worth


def as_json(tree: Any) -> bytes:
    """JSON that may have surrogates in it, as some clients send it."""
    return json.dumps(tree).encode()
