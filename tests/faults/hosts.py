"""The faults of hosts, each in a few words. `tests/faults/hosttrials.py` says how they are tried."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from tests.faults import scripts as s
from tests.faults.scripts import ANSWER, EVENTS, USED, WHOLE
from tests.support.host import Script, answers

When = Literal["before", "after", "never"]


@dataclass(frozen=True, slots=True)
class HostFault:
    """What one host does. `whole` is None where only a stream can have this fault.

    `when` says whether the fault shows before the first token or after it; `never`: a careful reader finds the whole
    answer. `mine` says that the request is refused for what it is: the refusal is the answer, whichever host is asked.
    `warm` are the seconds since a good answer over the same connection. `once`: a second request is answered well.
    `at_once`: a request that is lost with its kept connection was never read, so it is sent again and no attempt.
    `tools` asks with a tool, and the right answer calls it; else the right answer is `text`.
    """

    name: str
    when: When
    streamed: Script | None  # None: nobody listens
    whole: Script | None
    mine: bool = False
    warm: float | None = None
    once: bool = False
    at_once: bool = False
    tools: bool = False
    text: str = ANSWER
    metered: bool = True  # whether an answer brings its usage
    flood: bool = False  # takes so much of the machine that it is tried alone


def _same(name: str, script: Script, **fields: Any) -> HostFault:
    return HostFault(name, "before", script, script, **fields)


def _status(status: int, message: str, more: str = "", mine: bool = False, wait: str = "", **f: str) -> HostFault:
    return _same(f"{status}{more}", s.refuses(status, message, wait, **f), mine=mine)


def _before(name: str, streamed: Script, whole: Script | None = None, **fields: Any) -> HostFault:
    return HostFault(name, "before", streamed, whole, **fields)


def _after(name: str, streamed: Script, whole: Script | None = None, **fields: Any) -> HostFault:
    return HostFault(name, "after", streamed, whole, **fields)


def _odd(name: str, streamed: Script, whole: Script | None = None, **fields: Any) -> HostFault:
    return HostFault(name, "never", streamed, whole, **fields)


CONNECTIONS = [
    HostFault("refuses the connection", "before", None, None),
    _same("resets before the head", s.resets),
    _same("closes before the head", s.closes),
    _same("resets before the head, once", s.resets, once=True),
    _same("resets a kept connection when a request comes", s.resets, warm=0.3, at_once=True),
    _same("closes a kept connection 1 s after a request came", s.waits(1.0, s.closes), warm=0.3),
    _same("accepts and never answers", s.is_silent),
    _same("sends a head, then nothing", s.sends_only_a_head),
    _same("first token after 3 s", s.waits(3.0, s.good, head=True)),
    _same("no HTTP", s.raw(b"\x00\x01\x02 no http at all\r\n\r\n")),
    _same("a head without end", s.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")),
    _same("a head of 1 MB", s.raw(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000 + b"\r\n\r\n")),
]
STATUSES = [
    _status(400, "messages: field required", ", malformed", mine=True),
    _status(400, "`logit_bias` is not supported by this model", ", parameter not supported", param="logit_bias"),
    _status(
        400, "maximum context length is 8192 tokens, you asked for 9631", ", too long", code="context_length_exceeded"
    ),
    _status(400, "rejected by our safety system", ", content policy", mine=True, code="content_policy_violation"),
    _status(400, "computer says no", ", for no known reason"),
    _status(401, "invalid API key"),
    _status(402, "insufficient balance"),
    _status(403, "this account may not use the model"),
    _status(404, "the model does not exist", code="model_not_found"),
    _status(408, "request timeout"),
    _status(413, "request body too large"),
    _status(422, "invalid parameter", mine=True),
    _status(429, "rate limit reached"),
    _status(429, "rate limit reached", ", Retry-After: 1", wait="1"),
    _same("429, Retry-After: 1, once", s.refuses(429, "rate limit reached", "1"), once=True),
    _status(429, "rate limit reached", ", Retry-After: 60", wait="60"),
    _status(500, "internal error"),
    _same("500, once", s.refuses(500, "internal error"), once=True),
    _status(502, "bad gateway"),
    _same("503, Retry-After: 1, once", s.refuses(503, "overloaded", "1"), once=True),
    _status(503, "overloaded", ", Retry-After: 60", wait="60"),
    _status(529, "overloaded"),
    _same("500 with a body that never ends", s.refuses_without_end(500)),
    _same("401 with a body that never ends", s.refuses_without_end(401)),
    _same("308 to elsewhere", answers(308, b"", {"location": "http://127.0.0.1:9/"})),
    _same("204", answers(204, b"")),
]
_DATA = json.dumps(WHOLE).encode()
_IN_BAND = {"error": {"message": "the engine died", "type": "server_error", "code": 502}}
_WAITING = b": waiting\n\n"
_EMPTY = s.event(s.said(""))
_BAD_EVENT = b'data: {"id": "x", "choices": [{"delta": {"content": \n\n'
ANSWERS = [
    _same("an HTML page with 200", s.body(b"<html><body>sign in</body></html>", "text/html")),
    _same("an empty 200", s.body(b"", "application/json")),
    _before("an error inside a 200", s.sends(_IN_BAND), answers(200, _IN_BAND)),
    _before("`[DONE]` and nothing else", s.sends("[DONE]"), s.body(b"null", "application/json")),
    _before("a bad first event; half of a JSON body", s.sends(_BAD_EVENT), s.body(_DATA[:90], "application/json")),
    _before("a stop without text", s.sends(EVENTS[0], *EVENTS[-2:], "[DONE]"), answers(200, s.answered(content=""))),
    _before("comments for ever", s.sends(then=s.for_ever(_WAITING))),
    _before("comments as fast as it can", s.sends(then=s.for_ever(_WAITING * 500, every=0)), flood=True),
    _before("empty deltas for ever", s.sends(then=s.for_ever(_EMPTY))),
    _before("white space for ever", s.sends(then=s.for_ever(b"\n")), s.whole_then(0, s.for_ever(b" "))),
]
BREAKS = [
    _after("cut", s.half(then=s.cut), s.whole_then(0.6, s.cut)),
    _after("reset", s.half(then=s.reset), s.whole_then(0.6, s.reset)),
    _after("stall", s.half(then=s.stall), s.whole_then(0.6, s.stall)),
    _after("stall in the arguments of a tool call", s.half_a_call(s.stall), tools=True),
    _after("cut in the arguments of a tool call", s.half_a_call(s.cut), tools=True),
    _after("an error event", s.half(_IN_BAND)),
    _after("a malformed event", s.half(_BAD_EVENT, *EVENTS[s.HALF :], "[DONE]")),
    _after("bad chunk framing", s.half(then=s.breaks_chunking)),
    _after("comments for ever", s.half(then=s.for_ever(_WAITING))),
    _after("empty deltas for ever", s.half(then=s.for_ever(_EMPTY))),
    _after("an end without finish reason", s.sends(*EVENTS[:-2], "[DONE]"), answers(200, s.finished(WHOLE, None))),
    _after("finish reason `insufficient_system_resource`", *s.finishing("insufficient_system_resource", s.HALF)),
    _after("finish reason `error`", *s.finishing("error", s.HALF)),
]
_NO_ID = {name: value for name, value in s.CALL.items() if name != "id"}
_OBJECT = s.CALL | {"function": {"name": "look_up", "arguments": {"word": "one"}}}
_PARTS = [{"type": "text", "text": ANSWER}]
_NO_USAGE = {name: value for name, value in WHOLE.items() if name != "usage"}
_NAN = {"x": float("nan")}
_BOM = b"\xef\xbb\xbf"
ODDITIES = [
    _odd("no `[DONE]`", s.sends(*EVENTS)),
    _odd("finish, then silence", s.sends(*EVENTS[:-1], then=s.stall), metered=False),
    _odd("finish, then empty deltas for ever", s.sends(*EVENTS[:-1], then=s.for_ever(_EMPTY)), metered=False),
    _odd("finish reason `STOP`", *s.finishing("STOP")),
    _odd("finish reason `eos_token`", *s.finishing("eos_token")),
    _odd("usage before the finish", s.sends(*EVENTS[:-2], EVENTS[-1], EVENTS[-2], "[DONE]")),
    _odd("usage in every event", s.sends(*(one | {"usage": USED} for one in EVENTS), "[DONE]")),
    _odd("no usage", s.sends(*EVENTS[:-1], "[DONE]"), answers(200, _NO_USAGE), metered=False),
    _odd("gzip, not requested", s.compressed(s.text_of(EVENTS), s.STREAM), s.compressed(_DATA, s.JSON)),
    _odd("a byte order mark in front", s.sends(_BOM, *EVENTS[1:], "[DONE]"), s.body(_BOM + _DATA, "application/json")),
    _odd("`NaN` in it", s.with_third(s.changed(EVENTS[2], logprobs=_NAN)), answers(200, WHOLE | _NAN)),
    _odd("halves of a surrogate pair in two events", s.texts("one ", "\ud83d", "\ude00"), text="one \N{GRINNING FACE}"),
    _odd("`delta: null`", s.with_third(s.changed(EVENTS[1], delta=None), EVENTS[2])),
    _odd("JSON heartbeats", s.with_third({"type": "ping"}, EVENTS[2])),
    _odd("empty `data:` lines", s.with_third(b"data:\n\n", EVENTS[2])),
    _odd("text as parts", s.texts(_PARTS), answers(200, s.answered(content=_PARTS))),
    _odd("a tool call without index", s.calls(s.CALL), tools=True),
    _odd("a tool call without id", s.calls(_NO_ID | {"index": 0}), answers(200, s.calling(_NO_ID)), tools=True),
    _odd("arguments as an object", s.calls(_OBJECT | {"index": 0}), answers(200, s.calling(_OBJECT)), tools=True),
    _odd("CRLF, and bytes one by one", s.sends(*(bytes([one]) for one in s.text_of(EVENTS).replace(b"\n", b"\r\n")))),
]
GROUPS: dict[str, list[HostFault]] = {
    "Connections": CONNECTIONS,
    "Statuses": STATUSES,
    "Answers without a first token": ANSWERS,
    "Breaks after the first token": BREAKS,
    "Whole answers in odd shapes": ODDITIES,
}
