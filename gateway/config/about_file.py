"""A model's Markdown file, which operators edit: `about: deepseek-v3.2.md`, beside the YAML that names it.

    ## Profile, ## Strengths, ## Limits      Markdown
    ## Questions                             ### a question, and its answer below it, any number of times

Problems are reported with the file's own line.
"""

from pathlib import Path
from typing import Any

from gateway.document import INVALID, DocumentReader, Node, Place, Scalar, nearest
from gateway.files import content
from gateway.types import ModelProfile, Question

LARGEST = 64 * 1024  # bytes
SECTIONS = ("Profile", "Strengths", "Limits", "Questions")

_Lines = list[tuple[int, str]]  # with their numbers


def read_about(reader: DocumentReader, node: Node | None) -> Any:
    """The profile in the file that `node` names; an empty one where no file is named."""
    if node is None:
        return ModelProfile()
    if not isinstance(node, Scalar) or not node.text:
        return reader.problem(node.place, "about: expected the name of a Markdown file, relative to this one")
    path = Path(node.place.source).parent / node.text
    try:
        raw = content(path)
    except OSError as error:
        return reader.problem(node.place, f"about: {path}: {error.strerror}; write it, or leave out `about`")
    if len(raw) > LARGEST:
        return reader.problem(node.place, f"about: {path} is larger than {LARGEST // 1024} KiB; shorten it")
    return _profile(reader, raw.decode(errors="replace"), str(path))


def _profile(reader: DocumentReader, text: str, source: str) -> Any:
    found: dict[str, Any] = {}
    for (number, title), body in _blocks(list(enumerate(text.splitlines(), 1)), "## "):
        name, place = title.lower(), Place(source, number, 1)
        if title not in SECTIONS:
            found[name] = reader.problem(place, f"unknown section `{title[:40]}`; {nearest(title, SECTIONS)}")
        elif name in found:
            found[name] = reader.problem(place, f"the section `{title}` is there twice; join them")
        else:
            found[name] = _questions(reader, body, source) if title == "Questions" else _text(body)
    return INVALID if INVALID in found.values() else ModelProfile(**found)


def _questions(reader: DocumentReader, lines: _Lines, source: str) -> Any:
    blocks = _blocks(lines, "### ")
    for (number, title), body in blocks:
        if not _text(body):
            return reader.problem(Place(source, number, 1), f"`{title[:40]}` has no answer; write it below")
    return tuple(Question(title, _text(body)) for (_, title), body in blocks)


def _blocks(lines: _Lines, mark: str) -> list[tuple[tuple[int, str], _Lines]]:
    """Each heading that begins with `mark`, with the lines below it. What stands above the first one is a title."""
    found: list[tuple[tuple[int, str], _Lines]] = []
    for number, line in lines:
        if line.startswith(mark):
            found.append(((number, line.removeprefix(mark).strip()), []))
        elif found:
            found[-1][1].append((number, line))
    return found


def _text(lines: _Lines) -> str:
    return "\n".join(line for _, line in lines).strip()
