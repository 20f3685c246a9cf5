"""What the guard lets pass is sound whatever it is made of, and says what it says it says."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.upstream.normaliser import Normaliser
from gateway.upstream.passthrough import Guard
from tests.upstream.recordings import OPENAI, chunk, event

Json = dict[str, Any]
USUAL = OPENAI.body[0]
plain = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def proven(spaced: bool = False) -> Guard:
    """A guard that has seen a usual event."""
    guard = Guard()
    assert guard.texts_in(event(chunk({"content": "Hi"}), spaced)) == 1
    return guard


def changed(**more: Any) -> Json:
    return chunk({"content": "Hi"}, **more)


def in_choice(**more: Any) -> Json:
    payload = chunk({"content": "Hi"})
    payload["choices"][0].update(more)
    return payload


SOUND: list[Json] = [
    chunk({"role": "assistant", "content": "Hi"}),
    chunk({"content": "Hi", "reasoning_content": None, "refusal": None}),
    chunk({"reasoning_content": "Hm"}),
    chunk({"content": 'say "finish_reason":"stop"\n\ndata: [DONE]'}),
    chunk({"content": "日本語 \U0001f600"}),
    changed(system_fingerprint="fp", service_tier=None, provider={"a": [1, None]}),
    in_choice(logprobs={"content": [{"token": "Hi", "logprob": -0.5}]}),
]
UNUSUAL: list[Json] = [
    chunk({"content": "Hi"}, "stop"),
    chunk({"content": "Hi"}, ""),
    chunk({"content": ["Hi"]}),
    chunk({"content": {"text": "Hi"}}),
    chunk({"content": 5}),
    chunk({"reasoning": "Hm"}),
    chunk({"content": "Hi", "tool_calls": None}),
    chunk({"content": "Hi", "tool_calls": [{"index": 0}]}),
    chunk({"content": "Hi", "function_call": {"name": "f"}}),
    chunk({"content": "Hi", "audio": None}),
    chunk(None),
    {"choices": None},
    {"choices": [None]},
    {},
    changed(usage={"prompt_tokens": 1}),
    changed(x_groq={"usage": {"prompt_tokens": 1}}),
    changed(error={"message": "overloaded"}),
    changed(object="error"),
    changed(object="chat.completion"),
    changed(model=5),
    changed(id=None),
    changed(created="now"),
    in_choice(delta=None),
    in_choice(delta="Hi"),
    in_choice(index=None),
    in_choice(index="0"),
    in_choice(error={"message": "overloaded"}),
    in_choice(usage={"prompt_tokens": 1}),
    in_choice(message={"content": "Hi"}),
    in_choice(logprobs=[1]),
]
BROKEN: list[bytes] = [
    b'data: {"id": "x", "choices": [{"delta": {"content": \n\n',
    USUAL.replace(b"data: ", b"data:"),
    USUAL.replace(b"data: ", b"event: x\ndata: "),
    USUAL.replace(b"\n\n", b"\r\n\n"),
    USUAL.replace(b'"Hi"', b'"Hi'),
    USUAL.replace(b'"Hi"', b'"H\ni"'),
    USUAL.replace(b'"Hi"', b'"H\ti"'),
    USUAL.replace(b'"Hi"', b'"\\ud83d"'),
    USUAL.replace(b'"Hi"', b'"\\q"'),
    USUAL.replace(b'"Hi"', b'"\\u12"'),
    USUAL.replace(b'"Hi"', b'"\xff"'),
    USUAL.replace(b'"Hi"', b'"\xed\xa0\x80"'),
    USUAL.replace(b'"Hi"', b'"\xf8\x88\x80\x80\x80"'),
    USUAL.replace(b'"Hi"', b"NaN"),
    USUAL.replace(b'"created":1', b'"created":01'),
    USUAL.replace(b'"created":1', b'"created":1,"x":NaN'),
    USUAL.replace(b'"created":1', b'"created":1,"x":"\xff"'),
    USUAL.replace(b'"created":1', b'"created":1,"x":"\xed\xa0\x80"'),
    USUAL.replace(b'"created":1', b'"created":1,\r"x":2'),
    USUAL.replace(b'"created":1', b'"created":1,"x":' + b"[" * 100_000 + b"]" * 100_000),
    USUAL.replace(b"}\n\n", b",}\n\n"),
    USUAL.replace(b"}\n\n", b"} {}\n\n"),
    b"\n" + USUAL,
    b": comment\n\n",
    b"data: [DONE]\n\n",
    b"data:\n\n",
    b"\n\n",
]


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("payload", SOUND)
def test_text_in_mid_stream_passes(payload: Json, spaced: bool) -> None:
    data = event(payload, spaced)
    for guard in (Guard(), proven(), proven(spaced)):
        assert [guard.texts_in(data), guard.texts_in(data), guard.texts_in(data * 3)] == [1, 1, 3]


@pytest.mark.parametrize("data", [*map(event, UNUSUAL), *BROKEN])
def test_all_else_is_read(data: bytes) -> None:
    for guard in (Guard(), proven()):
        assert guard.texts_in(data) is None
        assert guard.texts_in(USUAL + data) is None
        assert guard.texts_in(data + USUAL) is None
        assert guard.texts_in(USUAL) == 1


def test_empty_deltas_hold_no_text() -> None:
    for delta in ({}, {"content": ""}, {"role": "assistant", "content": None}):
        assert proven().texts_in(event(chunk(delta))) == 0
        assert proven().texts_in(USUAL + event(chunk(delta))) == 1


@given(st.lists(plain, min_size=1, max_size=5), st.booleans())
def test_any_text_passes_after_one_was_proven(texts: list[str], escaped: bool) -> None:
    guard = proven()
    for text in texts:
        payload = chunk({"content": text})
        data = b"data: " + (json.dumps(payload, separators=(",", ":")).encode() if escaped else orjson.dumps(payload))
        assert guard.texts_in(data + b"\n\n") == 1


@pytest.mark.parametrize(
    "text", ["}]}", '"}}]}', "}]}\n\n", 'data: {"', '"}}]}\n\ndata: {"choices":', "x" * 1_000, "}]}\n\n" * 200]
)
def test_a_text_that_looks_like_the_end_of_an_event_passes_as_text(text: str) -> None:
    data = event(chunk({"content": text}))
    assert [proven().texts_in(data * times) for times in (1, 2, 5)] == [1, 2, 5]
    assert proven().texts_in(USUAL + data + USUAL) == 3


def test_of_a_read_that_ends_within_an_event_nothing_passes() -> None:
    block = USUAL * 3
    borders = {len(USUAL), 2 * len(USUAL)}
    assert all(proven().texts_in(block[:end]) is None for end in range(len(block)) if end not in borders)


@given(st.binary(max_size=12), st.integers(0, len(USUAL)), st.integers(0, 12))
def test_what_passes_is_json_of_the_same_text_for_everybody(noise: bytes, place: int, gone: int) -> None:
    """Bytes put into a usual event, in place of some."""
    data = USUAL[:place] + noise + USUAL[place + gone :]
    if not data.endswith(b"\n\n"):
        return
    for guard in (Guard(), proven()):
        texts = guard.texts_in(data)
        if texts is None:
            continue
        events = data[:-2].split(b"\n\n")
        found = 0
        for one in events:
            assert one.startswith(b"data: {")
            assert len(one.splitlines()) == 1, "one line, whatever ends one"
            payload = orjson.loads(one[6:])
            assert payload == json.loads(one[6:])
            clean = Normaliser().chunk(one[6:])
            assert clean == orjson.loads(one[6:]) | {"choices": clean["choices"]} if isinstance(clean, dict) else False
            found += sum(bool(choice["delta"].get("content")) for choice in payload["choices"])
        assert texts == found


def test_a_host_whose_events_all_differ_is_not_followed() -> None:
    guard = Guard()
    for number in range(100):
        assert guard.texts_in(event({**chunk({"content": "Hi"}), "id": f"x{number}"})) == 1
    assert "x3" in repr(guard)


START, END = USUAL.split(b"Hi")
SHARDS = [
    START,
    END,
    USUAL,
    START + b"\\" + END,
    START + b"\xe2" + END,
    START + END,
    END[:-2],
    START[len(b"data: {") :],
]
shards = st.lists(
    st.sampled_from(SHARDS)
    | st.sampled_from([b"\n", b"\n\n", b"\r", b" ", b'"', b"\\", b"u12", b"data: {", b": comment", b"\x82\xac"])
    | plain.map(lambda text: START + orjson.dumps(text)[1:-1] + END)
    | st.sampled_from([*map(event, (*SOUND, *UNUSUAL)), *(data for data in BROKEN if len(data) < 1_000)]),
    max_size=8,
)
ODD_START, ODD_EVENT = b"data; {" + USUAL[7:], b"data: {x\n\n"


def block_of(parts: list[bytes]) -> bytes:
    block = b"".join(parts)
    return block if block.endswith(b"\n\n") else block + b"\n\n"


def seen_alone(block: bytes) -> int | None:
    """What a guard that has proven nothing finds in the events of a block, each looked at alone."""
    found = [Guard().texts_of(one) for one in block[:-2].split(b"\n\n")]
    return sum(filter(None, found)) if None not in found else None


@given(shards)
@example([ODD_START, USUAL])
@example([USUAL, ODD_EVENT, USUAL])
@example([START + b"\\" + END, START + b"1234" + END])
def test_a_block_passes_if_and_only_if_each_of_its_events_would(parts: list[bytes]) -> None:
    block = block_of(parts)
    for texts in (proven().texts_in(block), Guard().texts_in(block)):
        assert texts == seen_alone(block)


@given(shards)
@example([ODD_START, USUAL])
@example([USUAL, ODD_EVENT, USUAL])
@example([START + b"\\" + END, START + b"1234" + END])
def test_runs_are_cut_out_of_any_block_without_a_byte_lost(parts: list[bytes]) -> None:
    block = block_of(parts)
    for guard in (proven(), Guard()):
        runs = [*guard.runs(block)]
        assert b"".join(run for run, _ in runs) == block
        assert all(seen_alone(run) == texts for run, texts in runs if texts)


def test_a_run_of_events_like_the_last_one_is_as_long_as_it_can_be() -> None:
    odd = event(chunk({"content": "Hi"}, "stop"))
    assert [*proven().runs(odd + USUAL * 3 + odd * 2 + USUAL)] == [(odd, 0), (USUAL * 3, 3), (odd * 2, 0), (USUAL, 1)]
    assert [*Guard().runs(USUAL * 3)] == [(USUAL * 3, 0)]


def test_a_guard_that_has_seen_nothing_lets_no_other_line_pass() -> None:
    for data in (b"-junk", b"-", b"--", b"", b"junk", b" "):
        assert Guard().texts_in(data + b"\n\n") is None
        assert Guard().texts_of(data) is None


def test_after_many_unusual_events_one_of_16_is_looked_at() -> None:
    """And a usual one among those is known again, and so are all that follow."""
    guard, unusual = Guard(), event(chunk({"content": "Hi"}, "stop"))
    for _ in range(9):
        assert guard.texts_in(unusual) is None
    seen = [guard.texts_in(USUAL) for _ in range(16)]
    assert seen == [None] * 7 + [1] * 9
    for _ in range(8):
        assert guard.texts_in(unusual) is None
    assert guard.texts_in(USUAL) == 1
