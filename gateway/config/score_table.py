"""`catalog/scores.yaml`: published benchmark scores of models, each table with its source.

tables:
  - name: AIME 2025          unit, source, url, date
    scores: {deepseek/deepseek-v3.2: 93.1, ...}
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.document import INVALID, DocumentReader, Node, decode, place_at, read

SCORES = Path(__file__).parents[1] / "catalog" / "scores.yaml"


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of several models in one benchmark, published together; higher is better. `date` as in 2025-12-02."""

    name: str
    unit: str
    source: str
    url: str
    date: str
    scores: dict[str, float]

    def percentile(self, model: str) -> float:
        """The share of the other models that score less, 0 to 1. KeyError for a model without a score."""
        mine = self.scores[model]
        others = [score for name, score in self.scores.items() if name != model]
        return sum(score < mine for score in others) / len(others)


@dataclass(frozen=True, slots=True)
class ScoreFile:
    tables: tuple[ScoreTable, ...]


def read_scores(path: Path = SCORES) -> tuple[ScoreTable, ...]:
    """Raises ConfigError with every problem."""
    return decode(read(path), ScoreFile, {ScoreTable: _table}).tables


def _table(reader: DocumentReader, node: Node) -> Any:
    table = reader.record(node, ScoreTable)
    if table is INVALID:
        return INVALID
    if not table.url.startswith("https://"):
        return reader.problem(place_at(node, "url"), "url: expected an https:// address")
    if len(table.scores) < 2:
        return reader.problem(place_at(node, "scores"), "scores: expected two models or more, to compare them")
    return table
