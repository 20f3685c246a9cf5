"""Streams in the shapes that hosts of the model have been recorded to send."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.types import Usage

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"


@dataclass(frozen=True)
class Recording:
    """`start` comes before the first token's event, `body` from there to the finish chunk, `end` is the rest.

    `relays` says that the shape is the clients' already; `text` is content, `thought` is reasoning.
    """

    name: str
    start: tuple[bytes, ...]
    body: tuple[bytes, ...]
    end: tuple[bytes, ...]
    usage: Usage
    relays: bool = True
    text: str = "Hi there"
    thought: str = ""
    finish: str = "stop"
    choices: int = 1

    @property
    def stream(self) -> bytes:
        return b"".join((*self.start, *self.body, *self.end))

    @property
    def relayed(self) -> bytes:
        """What a client gets untouched: all events but comments, whose lines end in LF."""
        sent = [event.replace(b"\r\n", b"\n") for event in (*self.start, *self.body)]
        return b"".join(event for event in sent if event.startswith(b"data"))


def event(payload: Json, spaced: bool = False) -> bytes:
    return b"data: " + json.dumps(payload, separators=None if spaced else (",", ":")).encode() + b"\n\n"


def chunk(delta: Json | None, finish: str | None = None, index: int = 0, **more: Any) -> Json:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def events(payloads: Sequence[Json], spaced: bool = False) -> tuple[bytes, ...]:
    return tuple(event(one, spaced) for one in payloads)


USED: Json = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
COUNTED = Usage(12, 4, 3, 0, source="host")

OPENAI = Recording(
    "openai: usage in an extra chunk",
    events([chunk({"role": "assistant", "content": ""})]),
    events([chunk({"content": "Hi"}), chunk({"content": " there"})]),
    (*events([chunk({}, "stop"), chunk(None, usage=USED)]), DONE),
    COUNTED,
)
_BOTH: Json = {"content": None, "reasoning_content": None}
DEEPSEEK = Recording(
    "deepseek: null usage, both texts in every delta, usage on the finish chunk",
    (
        COMMENT,
        COMMENT,
        event(chunk({"role": "assistant", "content": None, "reasoning_content": ""}, usage=None)),
    ),
    events(
        [
            chunk({**_BOTH, "reasoning_content": "So"}, usage=None, system_fingerprint=None),
            chunk({**_BOTH, "content": "Hi"}, usage=None),
            chunk({**_BOTH, "content": " there"}, usage=None),
        ]
    ),
    (
        event(
            chunk(
                {"content": "", "reasoning_content": None},
                "stop",
                usage={
                    "prompt_tokens": 12,
                    "completion_tokens": 3,
                    "prompt_cache_hit_tokens": 4,
                    "prompt_cache_miss_tokens": 8,
                    "completion_tokens_details": {"reasoning_tokens": 1},
                },
            )
        ),
        DONE,
    ),
    Usage(12, 4, 3, 1, source="host"),
    relays=False,
    thought="So",
)
VLLM = Recording(
    "vllm: `reasoning`, spaces in its JSON",
    events([chunk({"role": "assistant", "content": ""})], spaced=True),
    events([chunk({"reasoning": "So"}), chunk({"content": "Hi"}), chunk({"content": " there"})], spaced=True),
    (*events([chunk({}, "length"), chunk(None, usage=USED)], spaced=True), DONE),
    COUNTED,
    relays=False,
    thought="So",
    finish="length",
)
SGLANG = Recording(
    "azure, sglang: null tool_calls, matched_stop",
    events(
        [
            {"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "usage": None},
            chunk({"role": "assistant", "content": "", "tool_calls": None}),
        ]
    ),
    events([chunk({"content": "Hi", "tool_calls": None}), chunk({"content": " there", "tool_calls": None})]),
    (
        event({"choices": [{"index": 0, "delta": {"tool_calls": None}, "finish_reason": "stop", "matched_stop": 1}]}),
        event(chunk(None, usage={**USED, "prompt_tokens_details": None, "reasoning_tokens": 0})),
        DONE,
    ),
    Usage(12, 0, 3, 0, source="host"),
    relays=False,
)
CRLF = Recording(
    "lines end in CRLF",
    tuple(one.replace(b"\n", b"\r\n") for one in OPENAI.start),
    tuple(one.replace(b"\n", b"\r\n") for one in (*OPENAI.body[:1], COMMENT, *OPENAI.body[1:])),
    tuple(one.replace(b"\n", b"\r\n") for one in OPENAI.end),
    COUNTED,
)
COMMENTS = Recording(
    "comments and blank lines everywhere",
    (COMMENT, b": \n\n", *OPENAI.start, COMMENT),
    (OPENAI.body[0], b": OPENROUTER PROCESSING\n\n", b"\n\n", OPENAI.body[1]),
    (COMMENT, OPENAI.end[0], COMMENT, *OPENAI.end[1:], COMMENT),
    COUNTED,
)
NO_DONE = Recording("no [DONE]", OPENAI.start, OPENAI.body, OPENAI.end[:-1], COUNTED)
NO_BLANK = Recording(
    "no blank line at the end", OPENAI.start, OPENAI.body, (OPENAI.end[0], OPENAI.end[1].strip()), COUNTED
)
NO_USAGE = Recording("no usage", OPENAI.start, OPENAI.body, (OPENAI.end[0], DONE), Usage())
REPEATED = Recording(
    "the finished choice again with the usage",
    OPENAI.start,
    OPENAI.body,
    (OPENAI.end[0], event(chunk({}, "stop", usage=USED)), DONE),
    COUNTED,
)
HOSTILE = 'say "finish_reason":"stop", "error": {"message": 1}, data: [DONE]\n\ndata: {}'
QUOTES = Recording(
    "text that looks like the protocol",
    OPENAI.start,
    events([chunk({"content": HOSTILE}), chunk({"content": HOSTILE}), chunk({"content": '"'})]),
    OPENAI.end,
    COUNTED,
    text=HOSTILE * 2 + '"',
)
TWO_CHOICES = Recording(
    "n=2, one ends before the other",
    events([chunk({"role": "assistant", "content": ""}), chunk({"role": "assistant", "content": ""}, index=1)]),
    events([chunk({"content": "Hi"}), chunk({"content": " the"}, index=1)]),
    (
        *events([chunk({}, "stop"), chunk({"content": "re"}, index=1), chunk({}, "stop", index=1)]),
        *events([chunk(None, usage=USED)]),
        DONE,
    ),
    COUNTED,
    choices=2,
)
_CALL: Json = {"index": 0, "id": "call_00", "type": "function", "function": {"name": "f", "arguments": ""}}
TOOLS = Recording(
    "tool calls",
    events([chunk({"role": "assistant", "content": None})]),
    events(
        [
            chunk({"tool_calls": [_CALL]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"error": 1}'}}]}),
        ]
    ),
    (*events([chunk({}, "tool_calls"), chunk(None, usage=USED)]), DONE),
    COUNTED,
    text="",
    finish="tool_calls",
)
ALL_AT_ONCE = Recording(
    "the whole answer in its finish chunk",
    (),
    (),
    (event(chunk({"role": "assistant", "content": "Hi there"}, "stop", usage=USED)), DONE),
    COUNTED,
)
RECORDINGS = (
    *(OPENAI, DEEPSEEK, VLLM, SGLANG, CRLF, COMMENTS, NO_DONE, NO_BLANK, NO_USAGE),
    *(REPEATED, QUOTES, TWO_CHOICES, TOOLS, ALL_AT_ONCE),
)
