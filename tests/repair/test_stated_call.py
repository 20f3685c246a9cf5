"""One call of a host: what of its arguments is sent when, and what its end adds."""

import pytest

from gateway.repair.stated_call import LARGEST_ARGUMENTS, StatedCall
from gateway.repair.tool_call_markup import MarkupCall


def taken(*pieces: str, clean: bool = True) -> tuple[list[str], str, bool]:
    """What was sent for each piece, what the end added, and whether that was a repair."""
    call = StatedCall("call_1", "f")
    return [call.take(piece) for piece in pieces], *call.end(clean)


@pytest.mark.parametrize(
    ("pieces", "sent", "rest", "repaired"),
    [
        (['{"a"', ": 1}"], ['{"a"', ": 1}"], "", False),
        (['{"a": 1} \n', " "], ['{"a": 1} \n', " "], "", False),
        (['{"a": 1}{"a"', ": 1}"], ['{"a": 1}', ""], "", True),
        (['{"a": 1} {"b', '": 1}'], ['{"a": 1} ', ""], '{"b": 1}', False),
        (['{"a": ["b"'], ['{"a": ["b"'], "]}", True),
        (['{"a": "b'], ['{"a": "b'], "", False),
        ([], [], "", False),
    ],
)
def test_json_is_sent_as_it_comes_and_what_is_behind_it_waits(
    pieces: list[str], sent: list[str], rest: str, repaired: bool
) -> None:
    assert taken(*pieces) == (sent, rest, repaired)


def test_only_a_clean_end_adds_brackets() -> None:
    assert taken('{"a": "b"', clean=False) == (['{"a": "b"'], "", False)
    assert taken('{"a": 1}', '{"a"', clean=False) == (['{"a": 1}', ""], "", True)


@pytest.mark.parametrize(("spare", "rest"), [(0, "}"), (1, "")])
def test_arguments_are_followed_up_to_a_bound(spare: int, rest: str) -> None:
    text = '{"a": "' + "x" * (LARGEST_ARGUMENTS - 8 + spare) + '"'
    assert taken(text[:100], text[100:])[1:] == (rest, bool(rest))


def test_what_waited_is_sent_once_they_are_too_long() -> None:
    long = "x" * LARGEST_ARGUMENTS
    assert taken("{}", "{", long, "}") == (["{}", "", "{" + long, "}"], "", False)


@pytest.mark.parametrize(
    ("name", "arguments", "same"),
    [
        ("f", '{"b": 2, "a": 1}', True),
        ("f", '{"a": 1}', False),
        ("g", '{"a": 1, "b": 2}', False),
        ("f", "{not JSON", True),
    ],
)
def test_a_call_is_the_same_by_name_and_value(name: str, arguments: str, same: bool) -> None:
    call = StatedCall("call_1", "f")
    call.take('{"a": 1, "b": 2}')
    assert call.is_same(MarkupCall(name, arguments)) is same
    assert StatedCall("call_1", "f").is_same(MarkupCall("f", "{}"))


def test_a_call_of_markup_is_whole() -> None:
    one, other = (StatedCall.of(MarkupCall("f", '{"a": 1}')) for _ in range(2))
    assert one.arguments == '{"a": 1}'
    assert one.id != other.id
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert one.delta(2) == {"index": 2, "id": one.id, "type": "function", "function": function}
    assert len(one.id) == len("call_") + 24
