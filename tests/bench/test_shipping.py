"""What `python -m bench.shipping` measures is what a shipper ships."""

import asyncio
from pathlib import Path

from bench.shipping import cost
from tests.support.valkey import running


def test_rows_are_shipped_and_measured(tmp_path: Path) -> None:
    with running(tmp_path / "store") as url:
        own, store = asyncio.run(cost(50, tmp_path / "ledger", url, seconds=2))
    assert own > 0
    assert store >= 0
