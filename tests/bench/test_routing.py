import gzip
import re
from pathlib import Path

import pytest

from bench.routing.__main__ import SECTIONS, main
from gateway.sim.workload import SAMPLE


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """The first requests of the sample."""
    path = tmp_path / "trace.jsonl"
    with gzip.open(SAMPLE) as lines:
        path.write_bytes(b"".join(next(lines) for _ in range(60)))
    return str(path)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_is_a_table(trace: str, section: str, capsys: pytest.CaptureFixture[str]) -> None:
    others = ["--short", trace, "--agents", trace]
    assert main([trace, *others, "--seeds", "2", "--sections", section, "--policies", "floor"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert re.search(r"\d", lines[2])


def test_quick_is_one_seed_of_prices(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([trace, "--short", trace, "--agents", trace, "--quick", "--parts", "first"]) == 0
    out = capsys.readouterr().out
    assert "### Blended price" in out
    assert "±" not in out
