"""The threat model names tests, and these exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| threat ")]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


def test_each_threat_has_a_test() -> None:
    assert len(ROWS) > 20
    assert [row for row in ROWS if "`tests/" not in row.split(" | ")[-1]] == []
    assert TEXT.count("::") == len(re.findall(r"`tests/[\w/]+\.py::\w+`", TEXT)), "a name that cannot be read"


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_it_exists(path: str, name: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^ *(async )?def {name}\(", text, re.MULTILINE)
