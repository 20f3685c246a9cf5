"""Tool calls come out as OpenAI sends them: numbered, with one id each, named once, whatever the host's pieces are."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repair.call_fragments import LARGEST_KEPT, MOST_CALLS, CallFragments

Json = dict[str, Any]
Call = tuple[str, str, str]  # id, name, arguments; an id of the gateway's own is "own"


def piece(index: Any = None, call: Any = None, name: Any = None, arguments: Any = None, **more: Any) -> Json:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    said = {key: value for key, value in (("index", index), ("id", call)) if value is not None}
    return said | {"function": function} | more


def told(deltas: Sequence[Sequence[Any]]) -> list[Json]:
    pieces = CallFragments(set())
    return [*(one for delta in deltas for one in pieces.take(delta)), *pieces.end()]


def together(pieces: Sequence[Json]) -> list[Call]:
    """As a naive client puts them together: everything that comes for an index is appended."""
    calls: list[list[str]] = []
    for one in pieces:
        assert 0 <= one["index"] <= len(calls), "numbers without a gap, in order"
        if one["index"] == len(calls):
            assert one["type"] == "function"
            calls.append(["", "", ""])
        call, function = calls[one["index"]], one["function"]
        call[0] += one.get("id", "")
        call[1] += function.get("name", "")
        call[2] += function["arguments"]
    assert len({call[0] for call in calls}) == len(calls), "one id each"
    return [("own" if call[0].startswith("call_") else call[0], call[1], call[2]) for call in calls]


ONE = [("c1", "f", '{"a":1}')]
TWO = [("c1", "f", '{"a":1}'), ("c2", "g", "{}")]
SAME = [("c1", "f", '{"a":1}'), ("c2", "f", '{"a":2}')]
OWN = [("own", "f", '{"a":1}'), ("own", "g", "{}")]
f, g = ("c1", "f", '{"a":1}'), ("c2", "g", "{}")

CASES: dict[str, tuple[list[list[Any]], list[Call]]] = {
    "as it should be": ([[piece(0, "c1", "f", "")], [piece(0, arguments='{"a":')], [piece(0, arguments="1}")]], ONE),
    "no index": ([[piece(None, *f)], [piece(None, *g)]], TWO),
    "no index, in pieces": (
        [
            [piece(None, "c1", "f", "")],
            [piece(arguments='{"a":1}')],
            [piece(None, "c2", "g", "")],
            [piece(arguments="{}")],
        ],
        TWO,
    ),
    "no index, one delta": ([[piece(None, *f), piece(None, *g)]], TWO),
    "no index, by place": (
        [[piece(None, "c1", "f"), piece(None, "c2", "g")], [piece(arguments='{"a":1}'), piece(arguments="{}")]],
        TWO,
    ),
    "no index, by id": (
        [
            [piece(None, "c1", "f"), piece(None, "c2", "g")],
            [piece(None, "c2", None, "{}")],
            [piece(None, *f[:1], None, f[2])],
        ],
        TWO,
    ),
    "index null": ([[{**piece(None, *f), "index": None}], [{**piece(None, *g), "index": None}]], TWO),
    "index as text": ([[piece("0", *f)], [piece("1", *g)]], TWO),
    "index from 1, with a gap": ([[piece(1, *f)], [piece(3, *g)]], TWO),
    "index counts the pieces": ([[piece(0, "c1", "f", '{"a"')], [piece(1, "c1", None, ":1}")], [piece(2, *g)]], TWO),
    "an index that nothing begins": ([[piece(0, "c1", "f", '{"a"')], [piece(1, arguments=":1}")]], ONE),
    "all at index 0": ([[piece(0, *f)], [piece(0, *g)]], TWO),
    "all at index 0, one function": ([[piece(0, *SAME[0])], [piece(0, *SAME[1])]], SAME),
    "all at index 0, in turns": (
        [[piece(0, "c1", "f")], [piece(0, "c2", "g")], [piece(0, "c1", None, '{"a":1}')], [piece(0, "c2", None, "{}")]],
        TWO,
    ),
    "index 0, no ids": ([[piece(0, None, *f[1:])], [piece(0, None, *g[1:])]], OWN),
    "index 0, no ids, one function": (
        [[piece(0, None, "f", '{"a":1}')], [piece(0, None, "f", '{"a":2}')]],
        [("own", "f", '{"a":1}'), ("own", "f", '{"a":2}')],
    ),
    "in turns": (
        [
            [piece(0, "c1", "f", '{"a"')],
            [piece(1, "c2", "g", "{")],
            [piece(0, arguments=":1}")],
            [piece(1, arguments="}")],
        ],
        TWO,
    ),
    "a new id in each piece": (
        [[piece(0, "c1", "f", "")], [piece(0, "c2", None, '{"a":')], [piece(0, "c3", None, "1}")]],
        ONE,
    ),
    "a new id in each piece, no index": ([[piece(None, "c1", "f", '{"a":')], [piece(None, "c2", None, "1}")]], ONE),
    "a new id and the name in each piece": ([[piece(0, "c1", "f", '{"a":')], [piece(0, "c2", "f", "1}")]], ONE),
    "id and name in each piece": ([[piece(0, "c1", "f", '{"a":')], [piece(0, "c1", "f", "1}")]], ONE),
    "the name in each piece": ([[piece(0, "c1", "f", '{"a":')], [piece(0, None, "f", "1}")]], ONE),
    "the name in each piece, no id": ([[piece(0, None, "f", '{"a":')], [piece(0, None, "f", "1}")]], [("own", *f[1:])]),
    "an empty id": ([[piece(0, "", *f[1:])], [piece(1, "", *g[1:])]], OWN),
    "no id": ([[piece(0, None, *f[1:])], [piece(1, None, *g[1:])]], OWN),
    "a number for an id": ([[piece(0, 7, *f[1:])]], [("7", *f[1:])]),
    "an empty id later": ([[piece(0, "c1", "f", '{"a":')], [piece(0, "", "", "1}")]], ONE),
    "the id comes later": ([[piece(0, None, "f", "")], [piece(0, "c1", None, '{"a":1}')]], [("own", *f[1:])]),
    "the name comes later": ([[piece(0, "c1")], [piece(0, None, None, '{"a":')], [piece(0, None, "f", "1}")]], ONE),
    "one id for both": ([[piece(0, "c1", "f", '{"a":1}')], [piece(1, "c1", "g", "{}")]], [ONE[0], ("own", "g", "{}")]),
    "one id for both, no index": (
        [[piece(None, "c1", "f", '{"a":1}')], [piece(None, "c1", "f", '{"a":2}')]],
        [ONE[0], ("own", "f", '{"a":2}')],
    ),
    "said again in the finish chunk": (
        [[piece(0, "c1", "f", '{"a":')], [piece(0, arguments="1}")], [piece(0, *f)]],
        ONE,
    ),
    "an object for arguments": ([[piece(0, "c1", "f", {"a": 1})], [piece(1, "c2", "g", {})]], TWO),
    "a list and a number": (
        [[piece(0, "c1", "f", [1]), piece(1, "c2", "g", 5)]],
        [("c1", "f", "[1]"), ("c2", "g", "5")],
    ),
    "no arguments": ([[piece(0, "c1", "f")], [piece(0, arguments=None)]], [("c1", "f", "")]),
    "JSON in a JSON text": (
        [[piece(0, "c1", "f", '"{\\"a')], [piece(1, *g)], [piece(0, arguments='\\":1}"')]],
        TWO,
    ),
    "a text for arguments": ([[piece(0, "c1", "f", '"a"')]], [("c1", "f", '"a"')]),
    "a line break in a string": (
        [[piece(0, "c1", "f", '{"a":"b')], [piece(0, arguments='\n\tc"}')]],
        [("c1", "f", '{"a":"b\\n\\tc"}')],
    ),
    "line breaks elsewhere": ([[piece(0, "c1", "f", '{\n"a":1\n}\n')]], [("c1", "f", '{\n"a":1\n}\n')]),
    "a line break behind a backslash": (
        [[piece(0, "c1", "f", '{"a":"\\'), piece(0, arguments='\n"}')]],
        [("c1", "f", '{"a":"\\\n"}')],
    ),
    "half a character in each": (
        [[piece(0, "c1", "f", '{"a":"\ud83d')], [piece(0, arguments='\ude00"}')]],
        [("c1", "f", '{"a":"\U0001f600"}')],
    ),
    "half a character": ([[piece(0, "c1", "f", "\ud83d")]], [("c1", "f", "\ufffd")]),
    "a flat call": ([[{"id": "c1", "name": "f", "arguments": '{"a":1}'}]], ONE),
    "nothing": ([[{}], [None, 5, "x"], [piece(0)], [piece(0, "", "", "")]], []),
    "an id alone": ([[piece(0, *f)], [piece(1, "c2", "", "")]], ONE),
}


@pytest.mark.parametrize("case", CASES)
def test_calls_are_numbered_and_named_once(case: str) -> None:
    deltas, calls = CASES[case]
    assert together(told(deltas)) == calls


@pytest.mark.parametrize(
    "case", ["an empty id", "an object for arguments", "one id for both", "a flat call", "no arguments"]
)
def test_whole_calls_come_out_likewise(case: str) -> None:
    deltas, calls = CASES[case]
    whole = CallFragments(set()).whole(
        [one for delta in deltas for one in delta if (one.get("id") or one.get("function"))]
    )
    assert all("index" not in call for call in whole)
    assert together([{"index": number, **call} for number, call in enumerate(whole)]) == calls


def test_whole_arguments_are_mended() -> None:
    pieces = CallFragments(set())
    (first, second) = pieces.whole([piece(0, "c1", "f", '{"a":"b\nc"}'), piece(1, "c2", "g", json.dumps('{"a":1}'))])
    assert (first["function"]["arguments"], second["function"]["arguments"]) == ('{"a":"b\\nc"}', '{"a":1}')
    assert pieces.mended


@pytest.mark.parametrize("arguments", ['{"a":"b\nc"}', json.dumps('{"a":1}')])
def test_arguments_that_were_mended_stay_so_whatever_follows(arguments: str) -> None:
    pieces = CallFragments(set())
    pieces.take([piece(0, "c1", "f", arguments)])
    pieces.take([piece(1, "c2", "g", "{}")])
    pieces.end()
    assert pieces.mended
    pieces = CallFragments(set())
    pieces.whole([piece(0, "c1", "f", arguments), piece(1, "c2", "g", "{}")])
    assert pieces.mended


def test_what_needs_no_mending_does_not_count_as_mended() -> None:
    for case in ("no index", "an object for arguments", "line breaks elsewhere", "a text for arguments"):
        pieces = CallFragments(set())
        for delta in CASES[case][0]:
            pieces.take(delta)
        pieces.end()
        assert not pieces.mended, case


def test_arguments_without_a_name_are_no_call() -> None:
    pieces = CallFragments(set())
    assert pieces.take([piece(0, "c1", None, "{}")]) == []
    with pytest.raises(ValueError, match="without a name"):
        pieces.end()
    with pytest.raises(ValueError, match="without a name"):
        CallFragments(set()).whole([piece(0, "c1", None, "{}")])


def test_fields_of_the_host_stay_with_the_first_piece() -> None:
    pieces = CallFragments(set())
    first, later = (
        *pieces.take([piece(0, "c1", "f", "{", extra={"signature": "x"}, none=None)]),
        *pieces.take([piece(0, arguments="}", extra=1)]),
    )
    assert first == {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": "{"},
        "extra": {"signature": "x"},
    }
    assert later == {"index": 0, "function": {"arguments": "}"}}


def test_long_arguments_are_sent_in_full() -> None:
    part = "x" * (LARGEST_KEPT // 2)
    deltas = [
        [piece(0, "c1", "f", '{"a":"')],
        *([piece(0, arguments=part)] for _ in range(3)),
        [piece(0, arguments='"}')],
    ]
    assert together(told(deltas)) == [("c1", "f", '{"a":"' + part * 3 + '"}')]


@pytest.mark.parametrize(("spare", "count"), [(0, 1), (1, 2)])
def test_a_repeated_call_is_known_up_to_a_bound(spare: int, count: int) -> None:
    arguments = '{"a":"' + "x" * (LARGEST_KEPT - 8 + spare) + '"}'
    once = [piece(0, "c1", "f", arguments)]
    (only, *more) = told([once, once])
    assert only["function"]["arguments"] == arguments
    assert len([only, *more]) == count


@pytest.mark.parametrize(
    "of",
    [
        lambda number: piece(number, f"c{number}", "f", "{}"),
        lambda number: piece(None, None, "f", "{}"),
        lambda number: piece(number, "same", "f", "{}"),
        lambda number: piece(number, f"c{number}"),
    ],
    ids=["index", "names", "one id", "no name"],
)
def test_an_answer_has_only_so_many_calls(of: Callable[[int], Json]) -> None:
    """Over all of its choices, in one delta, in many, or whole."""
    ids: set[str] = set()
    first, second = CallFragments(ids), CallFragments(ids)
    for number in range(MOST_CALLS // 2):
        first.take([of(number)])
        second.take([of(number)])
    assert len(ids) == MOST_CALLS
    with pytest.raises(ValueError, match="too many tool calls"):
        second.take([of(MOST_CALLS)])
    for take in (CallFragments(set()).take, CallFragments(set()).whole):
        with pytest.raises(ValueError, match="too many tool calls"):
            take(map(of, range(2 * MOST_CALLS)))


@pytest.mark.parametrize("begun", [piece(0, "c1"), piece(0, "c1", "f", '"')], ids=["no name", "quoted"])
def test_arguments_that_cannot_be_sent_yet_are_bounded(monkeypatch: pytest.MonkeyPatch, begun: Json) -> None:
    monkeypatch.setattr("gateway.repair.call_fragments.LARGEST_HELD", 1_000)
    pieces = CallFragments(set())
    assert sum(len(one["function"]["arguments"]) for one in pieces.take([begun])) == 0
    assert not pieces.flows(0)
    for _ in range(9):
        assert pieces.take([piece(0, arguments="x" * 100)]) == []
    with pytest.raises(ValueError, match="cannot be sent yet"):
        pieces.take([piece(0, arguments="x" * 200)])


def test_arguments_that_are_sent_as_they_come_are_not_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.repair.call_fragments.LARGEST_HELD", 1_000)
    deltas = [[piece(0, "c1", "f", '{"a":"')], *([piece(0, arguments="x" * 100)] for _ in range(20))]
    assert together(told(deltas)) == [("c1", "f", '{"a":"' + "x" * 2_000)]


names = st.sampled_from("fg")
texts = st.dictionaries(st.sampled_from("ab"), st.integers() | st.text('x"\\{}', max_size=5), max_size=2).map(
    json.dumps
)


@given(st.data(), st.lists(st.tuples(names, texts), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_any_order_of_pieces_makes_the_same_calls(
    data: st.DataObject, calls: list[tuple[str, str]], indexes: bool, repeats: bool
) -> None:
    """Pieces of parallel calls in turns; those that follow the first have an index, or the id."""
    queues: list[list[Json]] = []
    for number, (name, arguments) in enumerate(calls):
        places = sorted(data.draw(st.lists(st.integers(0, len(arguments)), max_size=3)))
        cuts = [arguments[a:b] for a, b in zip([0, *places], [*places, len(arguments)], strict=True)]
        index, call_id = number if indexes else None, f"c{number}"
        known = call_id if repeats or not indexes else None
        first = piece(index, call_id, name, "")
        queues.append([first, *(piece(index, known, None, cut) for cut in cuts)])
    pieces: list[Json] = [queue.pop(0) for queue in queues]
    while any(queues):
        pieces.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    assert together(told([[one] for one in pieces])) == [(f"c{n}", *call) for n, call in enumerate(calls)]


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    # parsers give larger numbers as floats
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "arguments", "id", "index", "function"]), inner)
    ),
)


@given(st.lists(st.lists(odd, max_size=3), max_size=5))
def test_whatever_comes_is_well_formed_or_refused(deltas: list[list[Any]]) -> None:
    try:
        together(told(deltas))
        CallFragments(set()).whole([one for delta in deltas for one in delta])
    except ValueError as error:
        if "without a name" not in str(error):
            raise
