"""The files of the page: short, from nowhere else, without a way for text to become markup, every figure defined."""

import re
from pathlib import Path

import orjson

from gateway.page.page import STATIC

DOCS = Path(__file__).parents[2] / "docs" / "page.md"
LONGEST = 300  # lines of a file


def test_files_are_short() -> None:
    own = [path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html") and path.name != "uplot.js"]
    assert [path.name for path in own if len(path.read_text().splitlines()) > LONGEST] == []
    assert (STATIC / "uplot.LICENSE.txt").read_text().startswith("The MIT License")


def test_nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup() -> None:
    for path in STATIC.iterdir():
        text = path.read_text()
        code = re.sub(r"^\s*//.*$|\s// .*$|/\*.*?\*/", "", text, flags=re.M | re.S if path.suffix == ".css" else re.M)
        assert set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", code)) <= {"http://www.w3.org"}, (
            path.name
        )  # SVG's namespace
        if path.name != "uplot.js":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code)
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<script(?![^>]* src=)", page)


def test_every_figure_is_defined_once_and_documented_in_the_same_words() -> None:
    defined = orjson.loads((STATIC / "definitions.json").read_bytes())
    texts = "".join(path.read_text() for path in STATIC.iterdir() if path.suffix in (".js", ".html"))
    used = set(re.findall(r'(?:data-def="|\bdef: "|^\s*\[?"|\bid: ")([a-z0-9-]+)"', texts, flags=re.M))
    assert [name for name in defined if name not in used] == []
    assert [name for name in re.findall(r'(?:data-def="|\bdef: ")([a-z0-9-]+)"', texts) if name not in defined] == []
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCS.read_text(), flags=re.M | re.S))
    documented = {
        (panel, title): text
        for panel, section in sections.items()
        for title, text in re.findall(r"^\| (?!figure|-)([^|]+?) \| (.+?) \|$", section, flags=re.M)
    }
    assert documented == {(one["panel"], one["title"]): one["text"] for one in defined.values()}
