"""DeepSeek's own tool-call markup, where a host has let it slip into the text of an answer.

    <｜DSML｜function_calls>
    <｜DSML｜invoke name="f"><｜DSML｜parameter name="x" string="true">words</｜DSML｜parameter></｜DSML｜invoke>
    </｜DSML｜function_calls>

    text ──no mark──> on its way
         ──a mark, or what may become one──> held ──disproved──> on its way
                                                  ──end of the text──> calls, or a rest of markup, or text after all

A block counts only where it is whole, names tools that the request has, and ends the text. One in a code fence or in
an explanation is followed by other text, so it stays what it is. Hosts differ in the bars, in the block's name, in
whether there is a block around the calls at all, and some hand the markup on as the inside of a JSON string.
"""

import re
from collections.abc import Set
from typing import NamedTuple

import orjson

LARGEST = 1024 * 1024  # characters held; a longer block is let through as text
MOST_TRIES = 100  # marks of one text that may turn out to be none; after that it is let through
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
}  # what ends a value that may hold anything
_LONGEST_CLOSING = 24
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
# The end of a text inside a JSON string whose last escape is not whole: a backslash, `\u12`, or half of a pair.
_HALF_ESCAPE = re.compile(
    r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)\Z"
)
# A possible mark in the bytes of a host's JSON: the mark's word, or its first characters at the end of a string.
_SUSPECT = re.compile(rb'(?:<|\\u003[cC])[/|\\DSMLu0-9a-fA-F\x80-\xff]{0,40}"')

_D, _LESS, _BACKSLASH = b"D<\\"  # as numbers: looked for before longer words, because `in` finds a number much sooner


class MarkupCall(NamedTuple):
    """A tool call; `arguments` is JSON."""

    name: str
    arguments: str


class Held(NamedTuple):
    """What a text ended with: its characters, the calls that they are, and whether they are markup at all."""

    text: str
    calls: tuple[MarkupCall, ...] = ()
    markup: bool = False


def is_suspect(block: bytes) -> bool:
    """Whether JSON holds a mark, or a text that ends with the beginning of one. May be wrong in saying yes."""
    if _D in block and b"DSML" in block:
        return True
    return (_LESS in block or (_BACKSLASH in block and b"\\u003" in block)) and _SUSPECT.search(block) is not None


class Leak:
    """One text of an answer, looked through as it comes. `tools` are the names that calls may have."""

    __slots__ = ("_reading", "_tail", "_tools", "_tries")

    def __init__(self, tools: Set[str]) -> None:
        self._tools = tools
        self._tail = ""  # what may become a mark
        self._reading: _MarkupReading | None = None
        self._tries = MOST_TRIES

    @property
    def holds(self) -> bool:
        return bool(self._tail) or self._reading is not None

    def feed(self, text: str) -> str:
        """The text that may go on, of what was held and what came."""
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
            mark, text = self._disproved(self._reading)
            out.append(mark)
        return "".join(out)

    def end(self) -> Held:
        """The text is over, and nothing is held any more."""
        reading, self._reading = self._reading, None
        tail, self._tail = self._tail, ""
        if reading is None:
            return Held(tail)
        return Held(reading.raw(), reading.certain(), markup=True)

    def _mark(self, text: str) -> int:
        """Where a mark starts, or may start; a mark is read from there on."""
        if not self._tries:
            return len(text)
        found = _MARK.search(text)
        if found is not None:
            self._reading = _MarkupReading(self._tools)
            return found.start()
        last = text.rfind("<", -_LONGEST_MARK)
        return last if last >= 0 and text[last:] in _BEGINNINGS else len(text)

    def _disproved(self, reading: "_MarkupReading") -> tuple[str, str]:
        """The mark that was none, and the text behind it, in which there may be another."""
        self._reading = None
        self._tries -= 1
        raw = reading.raw()
        found = _MARK.match(raw)
        assert found is not None
        return raw[: found.end()], raw[found.end() :]


class _MarkupReading:
    """The text from a mark on, read while it can still be blocks and nothing else.

    outside ──block──> block ──invoke──> invoke ──parameter──> value ──its end──> invoke ──its end──> ...
    """

    __slots__ = (
        *("_block", "_escape", "_escaped", "_given", "_litter", "_name", "_parameter", "_raw", "_size", "_stage"),
        *("_tools", "_unread", "_value", "calls"),
    )

    def __init__(self, tools: Set[str]) -> None:
        self._tools = tools
        self._raw: list[str] = []
        self._size = 0
        self._unread = ""
        self._escaped = False  # whether it is the inside of a JSON string
        self._escape = ""  # the beginning of an escape in it
        self._stage = "tags"  # tags | invoke (between its parameters) | parameter | body (JSON in their place)
        self._block = False
        self._litter = False  # tags that close nothing
        self._name = ""
        self._given: dict[str, str] = {}  # parameters, as JSON
        self._parameter = ("", False)  # its name, and whether it is text
        self._value: list[str] = []
        self.calls: list[MarkupCall] = []

    def raw(self) -> str:
        return "".join(self._raw)

    def certain(self) -> tuple[MarkupCall, ...]:
        """The calls, where all that was read is whole. A missing end of the block around them takes nothing away."""
        if self._stage != "tags" or self._litter or self._escape:
            return ()
        rest = self._unread.lstrip()
        if rest and not (rest.startswith("</") and self._block and _begins_tag(rest)):
            return ()
        return tuple(self.calls)

    def feed(self, text: str) -> bool:
        """Whether it still can be markup."""
        self._raw.append(text)
        self._size += len(text)
        if not self._take(text):
            return False
        while (step := self._step()) is True:
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
        """Reads one thing. True: read; None: more text is needed; False: it is no markup."""
        if self._stage in ("parameter", "body"):
            return self._read_value()
        self._unread = rest = self._unread.lstrip()
        if self._stage == "invoke" and rest.startswith("{") and not self._given:
            self._stage = "body"
            return True
        if not self._escaped and _is_escaped(rest):
            self._escaped, self._unread = True, ""
            return self._take(rest)
        tag = _TAG.match(rest)
        if tag is None:
            return None if _begins_tag(rest) else False
        self._unread = rest[tag.end() :]
        closes, name, attributes = tag.groups()
        return self._closed(name) if closes else self._opened(name, attributes)

    def _opened(self, name: str, attributes: str) -> bool:
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

    def _closed(self, name: str) -> bool:
        if self._stage == "invoke":
            if name == "invoke":
                self._call("{" + ", ".join(f"{_quoted(key)}: {value}" for key, value in self._given.items()) + "}")
            return name == "invoke"
        if name in _CLOSING or not self.calls:
            self._litter = True
        self._block = False
        return True

    def _call(self, arguments: str) -> None:
        self.calls.append(MarkupCall(self._name, arguments))
        self._stage = "tags"

    def _read_value(self) -> bool | None:
        end = _CLOSING["parameter" if self._stage == "parameter" else "invoke"].search(self._unread)
        if end is None:
            seen = max(0, len(self._unread) - _LONGEST_CLOSING)
            self._value.append(self._unread[:seen])
            self._unread = self._unread[seen:]
            return None
        value = "".join((*self._value, self._unread[: end.start()]))
        self._value.clear()
        self._unread = self._unread[end.end() :]
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


def _is_escaped(rest: str) -> bool:
    """Whether there is a backslash where markup has none: before a tag, or inside of it."""
    end = rest.find(">")
    return "\\" in (rest if end < 0 else rest[:end])


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
