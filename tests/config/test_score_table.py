"""The table of published scores: sourced, comparable, and validated."""

import re
from datetime import date
from pathlib import Path

import pytest

from gateway.config import load
from gateway.config.score_table import read_scores
from gateway.errors import ConfigError

TABLE = "tables:\n  - {{name: A, unit: '%', source: s, url: {url}, date: 2025-12-02, scores: {scores}}}\n"


def test_the_shipped_scores_have_a_source_and_a_date() -> None:
    tables = read_scores()
    model = load(None, {}).models[0].id
    assert len({one.name for one in tables}) == len(tables) >= 5
    for one in tables:
        assert model in one.scores
        assert len(one.scores) >= 3
        assert one.source
        assert re.match(r"https://", one.url)
        assert date.fromisoformat(one.date) < date(2026, 12, 1)


@pytest.mark.parametrize(
    ("url", "scores", "words"),
    [
        ("http://a.example", "{a: 1, b: 2}", r"scores.yaml:2:\d+: url: expected an https:// address"),
        ("https://a.example", "{a: 1}", r"scores.yaml:2:\d+: scores: expected two models or more"),
        ("https://a.example", "{a: high, b: 2}", r"scores.yaml:2:\d+: "),
    ],
)
def test_problems_name_their_place(tmp_path: Path, url: str, scores: str, words: str) -> None:
    path = tmp_path / "scores.yaml"
    path.write_text(TABLE.format(url=url, scores=scores))
    with pytest.raises(ConfigError, match=words):
        read_scores(path)
