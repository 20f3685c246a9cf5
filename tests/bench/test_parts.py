"""What `python -m bench.parts` measures is an exchange that goes well."""

from pathlib import Path
from typing import Any

import pytest

from bench.parts import VARIANTS, Subject
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import read


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
async def test_every_variant_is_answered(tmp_path: Path, options: dict[str, Any]) -> None:
    subject = Subject(tmp_path / "one", **options)
    subject.ask()
    rows = read(StateFolder(tmp_path / "one").ledger)
    assert [row.outcome for row in rows] == ([] if options.get("ledger") else ["ok"])
