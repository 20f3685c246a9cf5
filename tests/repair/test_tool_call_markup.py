"""Leaked tool-call markup: found whatever the splits and shapes, and no other text is ever touched."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repair.tool_call_markup import (
    LARGEST,
    MOST_CALLS,
    MOST_TRIES,
    Held,
    Leak,
    MarkupCall,
    _MarkupReading,
    is_suspect,
)
from tests.upstream.markup import WEATHER, WEATHER_ARGUMENTS, block, end, invoke, parameter, tag

TOOLS = frozenset({"weather", "exec"})
CALL = MarkupCall("weather", WEATHER_ARGUMENTS)


def read(*pieces: str) -> tuple[str, Held]:
    """What went on at once, and what was held to the end."""
    leak = Leak(TOOLS)
    free = "".join(map(leak.feed, pieces))
    held = leak.end()
    assert not leak.holds
    return free, held


def cut(text: str, places: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:stop] for start, stop in pairwise(borders)]


FRAGMENTS = st.sampled_from(
    [
        *(
            "<",
            "</",
            "｜",
            "|",
            "‖",
            "DSML",
            "<｜",
            "<｜DS",
            "ML｜",
            "\\",
            "\\uff5c",
            "\\n",
            '\\"',
            '"',
            "`",
            "```\n",
            "\n",
            " ",
        ),
        *(tag("function_calls"), end("function_calls"), tag("invoke", name="weather"), tag("invoke", name="other")),
        *(end("invoke"), tag("parameter", name="city", string="true"), end("parameter"), parameter("city", "Rome")),
        *(
            "{",
            '{"city": 1}',
            "}",
            "words",
            WEATHER,
            json.dumps(WEATHER)[1:-1],
            invoke("exec"),
            "<｜DSML｜function_calls",
        ),
    ]
)
texts = st.lists(FRAGMENTS | st.text(max_size=5), max_size=12).map("".join)
splits = st.lists(st.integers(0, 3000), max_size=30)


@given(texts, splits)
def test_any_split_gives_the_same_result(text: str, places: list[int]) -> None:
    assert read(*cut(text, places)) == read(text)


@given(texts, splits)
def test_nothing_is_lost_or_added(text: str, places: list[int]) -> None:
    free, held = read(*cut(text, places))
    assert free + held.text == text


@given(texts.filter(lambda text: "DSML" not in text), splits)
def test_text_without_markup_is_never_changed_and_holds_no_call(text: str, places: list[int]) -> None:
    free, held = read(*cut(text, places))
    assert free + held.text == text
    assert (held.calls, held.markup) == ((), False)


@given(texts)
def test_only_the_beginning_of_a_mark_is_held_back(text: str) -> None:
    held = read(text)[1]
    assert held.text == "" or held.text.startswith("<")
    assert held.markup or len(held.text) < len("<\\/\\uff5c\\uff5cDSML\\uff5c\\uff5c")


SHAPES = {
    "as the model writes it": WEATHER,
    "no line breaks": WEATHER.replace("\n", ""),
    "another block name": WEATHER.replace("function_calls", "tool_calls"),
    "no block": invoke("weather", parameter("city", "Paris"), parameter("days", "3", is_text=False)),
    "double bars": WEATHER.replace("｜", "｜｜"),
    "other bars": WEATHER.replace("｜", "‖"),
    "plain bars": WEATHER.replace("｜", "|"),
    "the inside of a JSON string": json.dumps(WEATHER, ensure_ascii=False)[1:-1],
    "the inside of a JSON string in ASCII": json.dumps(WEATHER)[1:-1],
    "the inside of a JSON string, slashes too": json.dumps(WEATHER)[1:-1].replace("/", "\\/"),
    "JSON in place of parameters": block(invoke("weather", WEATHER_ARGUMENTS)),
    "no end of the block": WEATHER.removesuffix(end("function_calls")),
    "half an end of the block": WEATHER[:-5],
    "an end of a block that did not begin": WEATHER.removeprefix(tag("function_calls") + "\n"),
    "white space behind": WEATHER + "\n\n ",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_leak_is_the_call_that_it_was(shape: str) -> None:
    free, held = read("Let me see.\n\n", *SHAPES[shape])
    assert free == "Let me see.\n\n"
    assert held.calls == (CALL,)


def test_several_calls_in_one_block_and_in_two() -> None:
    one, two = invoke("exec", parameter("cmd", "ls")), invoke("exec")
    calls = (MarkupCall("exec", '{"cmd": "ls"}'), MarkupCall("exec", "{}"))
    assert read(block(one, two))[1].calls == calls
    assert read(block(one) + "\n" + block(two))[1].calls == calls


def test_an_invoke_that_closes_itself_has_no_arguments() -> None:
    assert read('<｜DSML｜invoke name="exec"/>')[1].calls == (MarkupCall("exec", "{}"),)


@pytest.mark.parametrize(
    "value", ["a < b", "<b>\\n</b>", '"quoted" \\ {', "", "\n  two\n lines ", "😀", "</parameter>", "`"]
)
def test_text_in_a_parameter_may_be_anything(value: str) -> None:
    held = read(block(invoke("exec", parameter("cmd", value))))[1]
    assert [json.loads(call.arguments) for call in held.calls] == [{"cmd": value}]
    escaped = json.dumps(block(invoke("exec", parameter("cmd", value))))[1:-1]
    assert read(*escaped)[1].calls == held.calls


@pytest.mark.parametrize("value", ["1.10", "12345678901234567890123", ' {"a": [1, null]} ', "true"])
def test_json_in_a_parameter_is_kept_to_the_letter(value: str) -> None:
    held = read(block(invoke("exec", parameter("x", value, is_text=False))))[1]
    assert held.calls == (MarkupCall("exec", f'{{"x": {value.strip()}}}'),)


MENTIONS = {
    "in a code fence": f"It looks like this:\n```\n{WEATHER}\n```\n",
    "in a fence at the very end": f"```xml\n{WEATHER}\n```",
    "in a code span": f"Write `{WEATHER}`",
    "explained": f"{WEATHER}\n\nThis calls the weather tool.",
    "in prose": "The mark <｜DSML｜function_calls> opens a block, and </｜DSML｜function_calls> ends it.",
    "a tool that the request has not": block(invoke("rm", parameter("x", "1"))),
    "in a JSON document": json.dumps({"text": WEATHER}),
    "JSON that is none": block(invoke("weather", parameter("days", "three", is_text=False))),
    "a parameter without its kind": block(invoke("weather", f"{tag('parameter', name='city')}x{end('parameter')}")),
    "a parameter twice": block(invoke("weather", parameter("city", "x"), parameter("city", "y"))),
}


@pytest.mark.parametrize("mention", MENTIONS)
def test_what_only_mentions_the_markup_is_text(mention: str) -> None:
    text = MENTIONS[mention]
    free, held = read(*text)
    assert free + held.text == text
    assert held.calls == ()


@pytest.mark.parametrize(
    "rest",
    [
        *("<｜DSML｜function_calls", tag("function_calls"), "<｜DSML｜", WEATHER[:-40], WEATHER[:60]),
        *(end("parameter"), f"{end('invoke')}\n{end('function_calls')}"),
        *(WEATHER + end("parameter"), WEATHER + end("invoke"), end("function_calls") + WEATHER),
    ],
)
def test_a_rest_of_markup_is_reported_but_is_no_call(rest: str) -> None:
    free, held = read("Let me see.", rest)
    assert (free, held) == ("Let me see.", Held(rest, (), markup=True))


@pytest.mark.parametrize("text", [block("I call", invoke("exec")), block(block(invoke("exec")))])
def test_a_call_in_a_block_that_is_none_is_found(text: str) -> None:
    free, held = read(*text)
    assert free + held.text == text
    assert held.calls == (MarkupCall("exec", "{}"),)


def test_a_call_behind_a_mention_is_found() -> None:
    text = f"I write <｜DSML｜function_calls> at once: <｜DSML｜oops {WEATHER}"
    free, held = read(*text)
    assert held == Held(WEATHER, (CALL,), markup=True)
    assert free + WEATHER == text


def test_a_block_without_end_is_let_through() -> None:
    leak = Leak(TOOLS)
    start = tag("invoke", name="exec") + tag("parameter", name="cmd", string="true")
    text = start + "x" * LARGEST
    assert leak.feed(start) == ""
    assert leak.feed("x" * LARGEST) == text
    assert leak.end() == Held("")


def test_an_escaped_block_that_is_no_json_string_is_let_through_at_once() -> None:
    leak = Leak(TOOLS)
    block = "<\\uff5cDSML\\uff5cfunction_calls>\\n"
    assert leak.feed(block) == ""
    assert leak.feed("\\q") == block + "\\q"
    assert not leak.holds


def test_a_block_is_held_up_to_its_bound() -> None:
    leak = Leak(TOOLS)
    start = tag("invoke", name="exec") + tag("parameter", name="cmd", string="true")
    assert leak.feed(start + "x" * (LARGEST - len(start))) == ""
    assert leak.holds
    assert len(leak.feed("x")) == LARGEST + 1
    assert not leak.holds


def test_marks_are_read_until_too_many_were_false() -> None:
    for false, calls in ((MOST_TRIES - 1, (CALL,)), (MOST_TRIES, ())):
        free, held = read("<｜DSML｜no " * false, WEATHER)
        assert held.calls == calls
        assert free + held.text == "<｜DSML｜no " * false + WEATHER


def test_a_block_of_more_calls_than_anyone_makes_is_text() -> None:
    most = block(*[invoke("exec")] * MOST_CALLS)
    assert len(read(most)[1].calls) == MOST_CALLS
    text = block(*[invoke("exec")] * (MOST_CALLS + 1))
    for pieces in ([text], [text[:1_000], text[1_000:]], list(text)):
        leak = Leak(TOOLS)
        assert "".join(map(leak.feed, pieces)) + leak.end().text == text


@pytest.mark.parametrize(
    "inside",
    [
        "".join(tag("parameter", name=f"p{number}", string="true") + "v" + end("parameter") for number in range(3_000)),
        "".join(invoke("exec") for _ in range(MOST_CALLS)) * 30,
    ],
    ids=["parameters", "calls"],
)
def test_a_long_block_that_proves_to_be_text_is_not_read_again_from_each_of_its_tags(
    monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """Each tag of it might begin a block: the time would grow with the square of its length."""
    steps = 0
    step = _MarkupReading._step

    def counted(reading: _MarkupReading) -> bool | None:
        nonlocal steps
        steps += 1
        return step(reading)

    monkeypatch.setattr(_MarkupReading, "_step", counted)
    text = tag("invoke", name="exec") + inside + tag("invoke", name="unknown")
    leak = Leak(TOOLS)
    assert leak.feed(text) + leak.end().text == text
    assert steps < 8 * text.count("<")


def test_a_text_full_of_marks_is_not_read_for_ever() -> None:
    text = "<｜DSML｜no " * (MOST_TRIES + 1)
    free, held = read(text, WEATHER)
    assert free == text + WEATHER
    assert held == Held("")


@given(texts, st.booleans())
def test_bytes_are_suspect_wherever_something_would_be_held(text: str, ascii_only: bool) -> None:
    leak = Leak(TOOLS)
    if leak.feed(text) != text:
        assert is_suspect(json.dumps({"content": text}, ensure_ascii=ascii_only).encode())
        assert is_suspect(json.dumps({"content": text}).replace("<", "\\u003c").encode())


def test_usual_text_is_not_suspect() -> None:
    assert not is_suspect(b'{"content":"if a < b then <b>bold</b>"}')
