"""Broken JSON: mended where it can only have meant one thing, else left alone."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.repair.json_repair import DEEPEST, Brackets, closed, healed, healed_content, is_copy

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
structures = st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4)
splits = st.lists(st.integers(0, 500), max_size=20)


@given(structures, st.booleans())
def test_sound_json_is_left_alone(value: Any, finished: bool) -> None:
    assert healed(json.dumps(value), finished) is None
    assert healed(json.dumps(value, indent=1), finished) is None


@given(structures, st.sampled_from(["json", "", "JSON5"]), st.sampled_from(["", "\n", " "]))
def test_a_code_fence_is_taken_off(value: Any, language: str, space: str) -> None:
    inner = json.dumps(value, ensure_ascii=False)
    assert healed(f"{space}```{language}\n{inner}\n```{space}", finished=False) == inner


@given(structures, st.integers(0, 10_000), st.sampled_from(["", "\n", " "]))
def test_what_is_said_twice_is_said_once(value: Any, length: int, space: str) -> None:
    text = json.dumps(value)
    again = text[: 1 + length % len(text)]
    assert healed(text + space + again, finished=False) == text


@given(structures)
def test_brackets_that_are_missing_at_the_end_are_added(value: Any) -> None:
    text = json.dumps(value)
    cut = text.rstrip("]}")
    assume(cut and cut[-1] in '"el' and cut != text)
    assert healed(cut, finished=True) == text
    assert healed(cut, finished=False) is None


@given(structures, st.integers(0, 10_000))
def test_whatever_is_mended_begins_as_it_did(value: Any, length: int) -> None:
    text = json.dumps(value)
    cut = text[: length % len(text)]
    mended = closed(cut)
    assert mended is None or (mended.startswith(cut) and not mended[len(cut) :].strip("]}"))


@pytest.mark.parametrize(
    ("broken", "meant"),
    [
        ('{"a": 1,}', '{"a": 1}'),
        ('{"a": [1, 2, ], }', '{"a": [1, 2 ] }'),
        ('{"a": ",}", "b": [",]",],}', '{"a": ",}", "b": [",]"]}'),
        ('{"a": "\\",}",}', '{"a": "\\",}"}'),
        ('```json\n{"a": 1,}\n```', '{"a": 1}'),
        ('{"a": 1}{"a":1}', '{"a": 1}'),
        ('{"a": {"b": [true', '{"a": {"b": [true]}}'),
    ],
)
def test_what_is_certain_is_mended(broken: str, meant: str) -> None:
    assert healed(broken, finished=True) == meant


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "words", "3", '"text"', "null", "{", "[", '{"a"', '{"a":', '{"a": 1', '{"a": "b', '{"a": "b\\'),
        *('{"a": 1}{"a": 2}', '{"a": 1} and more', 'See {"a": 1}', '{"a": 1}}', '{"a": 1]', "{'a': 1}", '{"a": 1,'),
        *('```json\n{"a": 1}', "```\nwords\n```", '{"a": tru', '{"a": "b",', "{,}" * 2),
    ],
)
def test_what_is_not_certain_is_left_alone(text: str) -> None:
    assert healed(text, finished=True) is None


@given(structures, splits)
def test_the_end_is_found_whatever_the_splits(value: Any, places: list[int]) -> None:
    text = json.dumps(value)
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    brackets = Brackets()
    for start, stop in pairwise(borders):
        assert not brackets.whole
        assert brackets.feed(text[start:stop]) == stop - start
    assert brackets.whole
    assert brackets.feed("more") == 0


def test_no_more_brackets_are_tracked_than_json_may_have() -> None:
    most = Brackets()
    most.feed("[" * DEEPEST)
    assert most.missing == "]" * DEEPEST
    more = Brackets()
    for _ in range(10):
        more.feed('{"a":[' * DEEPEST)
    assert more.broken
    assert len(more._open) == DEEPEST
    assert more.missing == ""
    more.feed("]" * 20 * DEEPEST)
    assert not more.whole


def test_a_copy_may_be_written_otherwise_or_cut() -> None:
    assert is_copy('{"a": 1}', '\n{"a":1}')
    assert is_copy('{"a": 1}', '{"a"')
    assert not is_copy('{"a": 1}', '{"a": 2}')
    assert not is_copy('{"a": 1}', "  ")


@given(st.text(alphabet='{}[]",:\\ an1`\n'), st.booleans())
def test_random_text_never_raises_and_mends_to_json_only(text: str, finished: bool) -> None:
    mended = healed(text, finished)
    assert mended is None or isinstance(json.loads(mended), (dict, list))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('Here it is:\n\n```json\n{"a": 1}\n```\n\nAnything else?', '{"a": 1}'),
        ('Sure! {"a": {"b": [1]}} That is all [1].', '{"a": {"b": [1]}}'),
        ('The JSON: {"a": 1,}', '{"a": 1}'),
        ("```\n[1, 2,]\n```", "[1, 2]"),
        ('Done.\n```json\n{"a": ["b"\n```', '{"a": ["b"]}'),
    ],
)
def test_an_answer_in_json_is_taken_out_of_the_words_around_it(said: str, meant: str) -> None:
    assert healed_content(said, True) == meant


@pytest.mark.parametrize(
    "said",
    [
        '{"a": 1}',
        "I cannot do that, see [1].",
        'Either {"a": 1} or {"a": 2}.',
        "Use {name} as the name.",
        '```json\n{"a": 1}\n```\nor\n```json\n{"a": 2}\n```',
        'So: {"a": "b',
        "",
    ],
)
def test_words_without_one_certain_object_stay(said: str) -> None:
    assert healed_content(said, True) is None


@given(st.text(), st.dictionaries(st.text(), st.integers() | st.text()), st.text(), st.booleans())
def test_whatever_stands_around_it_an_answer_is_json_or_untouched(
    before: str, value: Any, after: str, finished: bool
) -> None:
    mended = healed_content(before + json.dumps(value, ensure_ascii=False) + after, finished)
    assert mended is None or isinstance(json.loads(mended), (dict, list))
