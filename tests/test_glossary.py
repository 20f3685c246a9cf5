"""Each noun has one meaning, one class, one file; and the glossary tells the truth."""

import re
from collections import Counter
from pathlib import Path

from tests.source import PACKAGE, modules

MODULES = modules()
GLOSSARY = Path(__file__).parents[1] / "docs" / "glossary.md"
ROW = re.compile(
    r"^\| (?P<noun>[^|]+) \| (?P<meaning>[^|]+) \| `(?P<name>\w+)` \| `(?P<file>[\w/]+\.py)` \|$", re.MULTILINE
)
PARTS = {"decode", "encode", "errors", "shape", "tools", "types"}  # of a dialect under `surface/`
ROWS = [found.groupdict() for found in ROW.finditer(GLOSSARY.read_text())]


def classes() -> Counter[str]:
    found = Counter[str]()
    for module in MODULES.values():
        found.update(re.findall(r"^class (\w+)", module.text, re.MULTILINE))
    return found


def test_a_class_name_means_one_thing() -> None:
    assert [name for name, count in classes().items() if count > 1] == []


def test_a_file_name_means_one_thing() -> None:
    """The dialects under `surface/` have the same parts by the same names."""
    files = [path for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    names = Counter(path.stem for path in files if not is_a_dialects_part(path))
    assert [name for name, count in names.items() if count > 1] == []


def is_a_dialects_part(path: Path) -> bool:
    return path.parent.parent == PACKAGE / "surface" and path.stem in {
        "decode",
        "encode",
        "errors",
        "shape",
        "tools",
        "types",
    }


def test_the_glossary_names_what_there_is() -> None:
    assert [row for row in ROWS if not is_there(row)] == []


def is_there(row: dict[str, str]) -> bool:
    module = MODULES.get("gateway." + row["file"].removesuffix(".py").replace("/", "."))
    return module is not None and re.search(rf"^class {row['name']}\b", module.text, re.MULTILINE) is not None


def test_a_noun_stands_once_in_alphabetical_order() -> None:
    nouns = [row["noun"].lower() for row in ROWS]
    assert len(nouns) > 50
    assert nouns == sorted(set(nouns))
