"""The Markdown file about a model: its sections, and problems with the place in the file they are in."""

from pathlib import Path

import pytest

from gateway.config import CATALOG, load
from gateway.config.about_file import LARGEST
from gateway.errors import ConfigError
from gateway.types import ModelProfile, Question

MODEL = "deepseek/deepseek-v3.2"


def about(folder: Path, text: str | None, named: str = "about.md") -> ModelProfile:
    """The profile of a model whose file says this, relative to gateway.yaml."""
    if text is not None:
        (folder / "about.md").write_text(text)
    config = folder / "gateway.yaml"
    config.write_text(f"models:\n  {MODEL}:\n    about: {named}\n")
    return next(one for one in load(config, {}).models if one.id == MODEL).about


def problem(folder: Path, text: str | None, named: str = "about.md") -> str:
    with pytest.raises(ConfigError) as error:
        about(folder, text, named)
    return str(error.value)


def test_sections_and_questions(tmp_path: Path) -> None:
    text = "# Title\n\n## Profile\n\nOne.\n\n## Questions\n### Why?\nSo.\n\n### And?\n- a\n- b\n"
    assert about(tmp_path, text) == ModelProfile(
        "One.", questions=(Question("Why?", "So."), Question("And?", "- a\n- b"))
    )


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert about(tmp_path, "") == ModelProfile()


def test_the_shipped_file_has_every_section_also_for_ones_own_hosts(tmp_path: Path) -> None:
    shipped = load(None, {}).models[0].about
    assert all((shipped.profile, shipped.strengths, shipped.limits, shipped.questions))
    config = tmp_path / "gateway.yaml"
    config.write_text(f"catalogue: false\nmodels:\n  {MODEL}: {{name: Mine, context: 1000, endpoints: []}}\n")
    (mine,) = load(config, {}).models
    assert mine.about == shipped
    assert mine.description
    assert CATALOG.with_suffix(".md").exists()


@pytest.mark.parametrize(
    ("text", "named", "words"),
    [
        ("## Profil\nx\n", "about.md", "about.md:1:1: unknown section `Profil`; did you mean `Profile`?"),
        ("x\n\n## Limits\na\n## Limits\nb\n", "about.md", "about.md:5:1: the section `Limits` is there twice"),
        ("## Questions\n\n### Why?\n### And?\nb\n", "about.md", "about.md:3:1: `Why?` has no answer"),
        (None, "missing.md", "gateway.yaml:3:12: about: "),
        ("x" * (LARGEST + 1), "about.md", "is larger than 64 KiB"),
        ("x", "[a, b]", "gateway.yaml:3:12: about: expected the name of a Markdown file"),
    ],
)
def test_problems_name_their_place(tmp_path: Path, text: str | None, named: str, words: str) -> None:
    assert words in problem(tmp_path, text, named)
