"""Events are cut out of a stream without touching more of it than its line ends, wherever its reads end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream import sse
from tests.upstream.listener import cut

lines = st.sampled_from([b"data: {}", b'data:{"a": 1}', b": comment", b"event: x", b"id: 7", b"data:", b""])
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
streams = st.lists(st.tuples(lines, ends), max_size=30).map(lambda parts: b"".join(line + end for line, end in parts))
splits = st.lists(st.integers(0, 10_000), max_size=40)


def with_line_feeds(stream: bytes) -> bytes:
    return stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@given(streams, splits)
def test_splitting_loses_nothing_and_changes_line_ends_only(stream: bytes, places: list[int]) -> None:
    splitter = sse.Splitter()
    blocks = [splitter.feed(piece) for piece in (cut(stream, places) if stream else [])]
    assert b"".join(blocks) + splitter.rest() == with_line_feeds(stream)
    for block in blocks:
        assert not block or block.endswith(b"\n\n"), "part of an event was let go"


@given(streams, splits)
def test_an_event_is_let_go_with_its_last_byte(stream: bytes, places: list[int]) -> None:
    splitter, whole = sse.Splitter(), sse.Splitter()
    for piece in cut(stream, places) if stream else []:
        splitter.feed(piece)
    whole.feed(stream)
    assert splitter.rest().strip() == whole.rest().strip()


@given(streams, splits)
def test_a_part_of_an_event_is_known_to_be_kept(stream: bytes, places: list[int]) -> None:
    splitter = sse.Splitter()
    for piece in cut(stream, places) if stream else []:
        splitter.feed(piece)
        assert splitter.partial == (bool(splitter.rest()) or piece.endswith(b"\r"))


@given(streams)
def test_events_together_are_the_block(stream: bytes) -> None:
    block = with_line_feeds(stream) + b"\n\n"
    events = sse.split(block)
    assert b"".join(events).replace(b"\n", b"") == block.replace(b"\n", b"")
    assert all(b"\n\n" not in event for event in events)


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"\n\ndata: {}\n\n", b"{}"),
        (b"event: error\ndata: {}\n\n", b"{}"),
        (b"data: {\ndata: }\n\n", b"{\n}"),
        (b": comment\n\n", b""),
        (b": comment\ndata: {}\n\n", b"{}"),
        (b"data\n\n", b""),
        (b"\n\n", b""),
    ],
)
def test_data_of_an_event(raw: bytes, data: bytes) -> None:
    assert b"".join(sse.events(raw)) == data


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_let_go_with_its_blank_line(end: bytes) -> None:
    splitter = sse.Splitter()
    assert splitter.feed(b"data: {}" + end) == b""
    assert splitter.feed(end) == b"data: {}\n\n"


def test_a_long_event_in_small_pieces_is_whole() -> None:
    event = sse.event(b"x" * 300_000)
    splitter = sse.Splitter()
    assert b"".join(splitter.feed(event[at : at + 7]) for at in range(0, len(event), 7)) == event
    assert splitter.rest() == b""


def test_an_event_that_does_not_end_is_refused() -> None:
    splitter = sse.Splitter()
    splitter.feed(b"x" * sse.LONGEST_EVENT)
    with pytest.raises(sse.TooLong):
        splitter.feed(b"x")


def test_payloads_leave_out_comments_and_done() -> None:
    block = b': a\n\ndata: {"a":1}\n\ndata: [DONE]\n\n'
    assert list(sse.payloads(block)) == [{"a": 1}]
