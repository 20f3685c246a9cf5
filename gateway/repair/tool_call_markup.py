"""Recognises DeepSeek's own tool-call markup where a host left it in the text of an answer.

    <｜DSML｜function_calls>
    <｜DSML｜invoke name="f"><｜DSML｜parameter name="x" string="true">words</｜DSML｜parameter></｜DSML｜invoke>
    </｜DSML｜function_calls>

    text ── no mark ──> passes
         ── a mark, or the beginning of one ──> held ── not markup after all ──> passes
                                                     ── end of the text ──> calls, or incomplete markup, or text

A block counts only where it is complete, names tools of the request, and ends the text. A block in a code fence or in
an explanation is followed by other text, so it stays text. Hosts differ in the bars, in the block's name, in whether
there is a block around the calls at all, and some send the markup escaped as in a JSON string.
"""

import re
from collections.abc import Set
from typing import NamedTuple

import orjson

LARGEST = 1024 * 1024  # characters held; a longer block passes as text
MOST_TRIES = 100  # false marks per text, and one more for each 1 % of `LARGEST` read again; then it passes unread
MOST_CALLS = 256  # in one block; one with more passes as text
_LONGEST_TAG = 320

_BARS = tuple(bar * times for bar in ("｜", "‖", "|", "\\uff5c", "\\u2016", "\\uFF5C") for times in (1, 2))
_MARKS = tuple(f"{opening}{bars}DSML{bars}" for opening in ("<", "</", "<\\/") for bars in _BARS)
_BEGINNINGS = frozenset(mark[:length] for mark in _MARKS for length in range(1, len(mark)))
_LONGEST_MARK = max(map(len, _MARKS))
_MARK = re.compile("|".join(map(re.escape, _MARKS)))

_TAG = re.compile(r"<(/?)[｜‖|]{1,2}DSML[｜‖|]{1,2}(\w+)([^<>]*)>")
_TAG_BEGINNING = re.compile(r"</?[｜‖|]{1,2}DSML[｜‖|]{1,2}[^<>]*")
_CLOSING = {
    name: re.compile(rf"</[｜‖|]{{1,2}}DSML[｜‖|]{{1,2}}{name}>") for name in ("parameter", "invoke")
}  # what ends a value, which may hold anything
_LONGEST_CLOSING = 24
_VISIBLE = re.compile(r"\S")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
# The end of a text inside a JSON string whose last escape is incomplete: a backslash, `\u12`, or half of a surrogate
# pair.
_HALF_ESCAPE = re.compile(
    r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)\Z"
)
# A possible mark in the bytes of a host's JSON: the mark itself, or its first characters at the end of a string.
_SUSPECT = re.compile(rb'(?:<|\\u003[cC])[/|\\DSMLu0-9a-fA-F\x80-\xff]{0,40}"')

_D, _LESS, _BACKSLASH = b"D<\\"  # as integers, searched before longer words: `int in bytes` is much faster


class MarkupCall(NamedTuple):
    """A tool call; `arguments` is JSON."""

    name: str
    arguments: str


class Held(NamedTuple):
    """The held end of a text: its characters, the calls in it, and whether it is markup."""

    text: str
    calls: tuple[MarkupCall, ...] = ()
    markup: bool = False


def is_suspect(block: bytes) -> bool:
    """Whether JSON holds a mark, or a text that ends with the beginning of one. May return True for other text."""
    if _D in block and b"DSML" in block:
        return True
    return (_LESS in block or (_BACKSLASH in block and b"\\u003" in block)) and _SUSPECT.search(block) is not None


class Leak:
    """Follows one text of an answer and holds back markup. `tools` are the names that calls may have."""

    __slots__ = ("_reading", "_tail", "_tools", "_tries")

    def __init__(self, tools: Set[str]) -> None:
        self._tools = tools
        self._tail = ""  # the possible beginning of a mark
        self._reading: _MarkupReading | None = None
        self._tries = MOST_TRIES

    @property
    def holds(self) -> bool:
        return bool(self._tail) or self._reading is not None

    def feed(self, text: str) -> str:
        """Takes the next piece of the text; returns the text that may pass."""
        if "<" not in text and not self.holds:
            return text
        out: list[str] = []
        text, self._tail = self._tail + text, ""
        while text:
            if self._reading is None:
                start = self._mark(text)
                out.append(text[:start])
                text = text[start:]
                if self._reading is None:
                    self._tail = text
                    break
            if self._reading.feed(text):
                break
            mark, text = self._reject(self._reading)
            out.append(mark)
        return "".join(out)

    def end(self) -> Held:
        """Ends the text and returns what was held."""
        reading, self._reading = self._reading, None
        tail, self._tail = self._tail, ""
        if reading is None:
            return Held(tail)
        return Held(reading.raw(), reading.complete_calls(), markup=True)

    def _mark(self, text: str) -> int:
        """Where a mark starts, or may start; reading starts at a full mark."""
        if not self._tries:
            return len(text)
        found = _MARK.search(text)
        if found is not None:
            self._reading = _MarkupReading(self._tools)
            return found.start()
        last = text.rfind("<", -_LONGEST_MARK)
        return last if last >= 0 and text[last:] in _BEGINNINGS else len(text)

    def _reject(self, reading: "_MarkupReading") -> tuple[str, str]:
        """The false mark, and the text behind it, which may hold another one."""
        self._reading = None
        raw = reading.raw()
        self._tries = max(0, self._tries - 1 - len(raw) * MOST_TRIES // LARGEST)
        found = _MARK.match(raw)
        assert found is not None
        return raw[: found.end()], raw[found.end() :]


class _MarkupReading:
    """The text from a mark on, for as long as it can be blocks and nothing else.

    outside ──block──> block ──invoke──> invoke ──parameter──> value ──its end──> invoke ──its end──> ...
    """

    __slots__ = (
        *("_at", "_block", "_escape", "_escaped", "_given", "_stray", "_name", "_parameter", "_raw", "_size"),
        *("_stage", "_tools", "_unread", "_value", "calls"),
    )

    def __init__(self, tools: Set[str]) -> None:
        self._tools = tools
        self._raw: list[str] = []
        self._size = 0
        self._unread = ""
        self._at = 0  # where the next item of `_unread` starts
        self._escaped = False  # whether the markup is escaped as in a JSON string
        self._escape = ""  # the beginning of an escape
        self._stage = "tags"  # tags | invoke (between its parameters) | parameter | body (JSON instead of parameters)
        self._block = False
        self._stray = False  # a closing tag without an opening one
        self._name = ""
        self._given: dict[str, str] = {}  # parameters, as JSON
        self._parameter = ("", False)  # its name, and whether its value is text
        self._value: list[str] = []
        self.calls: list[MarkupCall] = []

    def raw(self) -> str:
        return "".join(self._raw)

    def complete_calls(self) -> tuple[MarkupCall, ...]:
        """The calls, where everything read is complete. A missing end of the surrounding block does not matter."""
        if self._stage != "tags" or self._stray or self._escape:
            return ()
        rest = self._unread[self._at :].lstrip()
        if rest and not (rest.startswith("</") and self._block and _begins_tag(rest)):
            return ()
        return tuple(self.calls)

    def feed(self, text: str) -> bool:
        """Whether the text can still be markup."""
        self._raw.append(text)
        self._size += len(text)
        if not self._take(text):
            return False
        self._unread, self._at = self._unread[self._at :], 0
        while (step := self._step()) is True and len(self.calls) <= MOST_CALLS:
            pass
        return step is None and self._size <= LARGEST

    def _take(self, text: str) -> bool:
        if not self._escaped:
            self._unread += text
            return True
        text = self._escape + text
        half = _HALF_ESCAPE.search(text)
        whole = len(text) if half is None else half.start(1)
        self._escape = text[whole:]
        try:
            self._unread += orjson.loads(f'"{text[:whole]}"')
        except orjson.JSONDecodeError:
            return False
        return True

    def _step(self) -> bool | None:
        """Reads one item. True: read; None: more text is needed; False: not markup."""
        if self._stage in ("parameter", "body"):
            return self._read_value()
        text = self._unread
        self._at = at = len(text) if (found := _VISIBLE.search(text, self._at)) is None else found.start()
        if self._stage == "invoke" and text.startswith("{", at) and not self._given:
            self._stage = "body"
            return True
        if not self._escaped and _is_escaped(text, at):
            self._escaped, self._unread, self._at = True, "", 0
            return self._take(text[at:])
        tag = _TAG.match(text, at)
        if tag is None:
            return None if _begins_tag(text[at:]) else False
        self._at = tag.end()
        closes, name, attributes = tag.groups()
        return self._close_tag(name) if closes else self._open_tag(name, attributes)

    def _open_tag(self, name: str, attributes: str) -> bool:
        given = dict(_ATTRIBUTE.findall(attributes))
        if self._stage == "invoke":
            return name == "parameter" and self._open_parameter(given)
        if name == "parameter":
            return False
        if name != "invoke":
            opens, self._block = not self._block, True
            return opens
        self._name, self._given = given.get("name", ""), {}
        self._stage = "invoke"
        if attributes.endswith("/"):
            self._call("{}")
        return self._name in self._tools

    def _open_parameter(self, given: dict[str, str]) -> bool:
        name, kind = given.get("name"), given.get("string")
        if name is None or name in self._given or kind not in ("true", "false"):
            return False
        self._parameter = (name, kind == "true")
        self._stage = "parameter"
        return True

    def _close_tag(self, name: str) -> bool:
        if self._stage == "invoke":
            if name == "invoke":
                self._call("{" + ", ".join(f"{_quoted(key)}: {value}" for key, value in self._given.items()) + "}")
            return name == "invoke"
        if name in _CLOSING or not self.calls:
            self._stray = True
        self._block = False
        return True

    def _call(self, arguments: str) -> None:
        self.calls.append(MarkupCall(self._name, arguments))
        self._stage = "tags"

    def _read_value(self) -> bool | None:
        text = self._unread
        end = _CLOSING["parameter" if self._stage == "parameter" else "invoke"].search(text, self._at)
        if end is None:
            seen = max(self._at, len(text) - _LONGEST_CLOSING)
            self._value.append(text[self._at : seen])
            self._at = seen
            return None
        value = "".join((*self._value, text[self._at : end.start()]))
        self._value.clear()
        self._at = end.end()
        return self._keep_parameter(value) if self._stage == "parameter" else self._keep_body(value)

    def _keep_parameter(self, value: str) -> bool:
        name, is_text = self._parameter
        self._stage = "invoke"
        self._given[name] = _quoted(value) if is_text else value.strip()
        return is_text or _is_json(value)

    def _keep_body(self, value: str) -> bool:
        self._call(value.strip())
        return _is_json(value)


def _begins_tag(rest: str) -> bool:
    """Whether a text, which may be empty, can be the beginning of a tag."""
    if not rest or rest in _BEGINNINGS:
        return True
    return len(rest) <= _LONGEST_TAG and _TAG_BEGINNING.fullmatch(rest) is not None


def _is_escaped(text: str, at: int) -> bool:
    """Whether there is a backslash where markup has none: before the tag at `at`, or inside it."""
    end = text.find(">", at)
    return text.find("\\", at, len(text) if end < 0 else end) >= 0


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
