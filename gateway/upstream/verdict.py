"""Whose fault it was: a host's error, read and classified.

    status, headers, body ──judge──> Failure     an answer that is not a 200
    one parsed payload ────in_band─> Failure     an error inside a 200

Hosts write errors in seven shapes, put the truth into nested JSON, and use one status for several things. Words decide
where a status does not (`wording.py`): a 400 about the context length is this host's limit.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from gateway.types import Failure, Fault
from gateway.upstream.waiting import in_error, in_headers
from gateway.upstream.wording import NAME_CHARS, Meaning, against_content, meaning, too_long

_MESSAGE_CHARS = 500
_READ_CHARS = 8192  # how much of a host's text is looked at
_SAYS_ERROR = frozenset({"message", "detail", "msg", "errors"})  # of what is no answer
_DEPTH = 5  # an aggregator's error around a host's error around its `detail`

_CREDENTIAL_STATUS = frozenset({401, 402, 403})
_REQUEST_STATUS = frozenset({400, 413, 422})
_SERVER_STATUS = frozenset({408, 409, 421, 423, 424, 425, 499})

# Some keys are UUIDs or bare random text, so any long run with letters and digits is taken for one.
_SECRET = re.compile(
    r"bearer\s+[^\s\"',;]{8,}|(?<![\w-])[pg]?sk[-_][\w*.-]{4,}|(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{24,}",
    re.IGNORECASE,
)
_CLIENTS = re.compile(r"invalid_request|bad_?request|invalid_?parameter|context_length|unsupported_(param|value)")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


class _Said(NamedTuple):
    """What a host said. `hints` are its machine-readable words: code, type and the like; `wait` in seconds."""

    message: str = ""
    code: str | None = None
    param: str | None = None
    hints: str = ""
    wait: float | None = None


def judge(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: float) -> Failure:
    """Whose fault an answer with this status is. `now` is unix time, to which dates in headers are compared."""
    said = _parse(body, _DEPTH)
    fault, param, about = _classify(status, said)
    wait = in_headers(headers, now, fault is Fault.RATE_LIMITED)
    retry_after = said.wait if wait is None else wait
    message = shown(said.message) or f"HTTP {status} without a message"
    if fault is Fault.ACCOUNT and status in _CREDENTIAL_STATUS:  # hosts repeat the key that they refuse
        message = f"the host refused the gateway's account (HTTP {status})"
    return Failure(
        fault, message, status=status, code=said.code, param=_named(param), retry_after=retry_after, about=about
    )


def in_band(payload: dict[str, Any]) -> Failure | None:
    """The error inside a 200's payload, `{"error": ...}` or `{"object": "error", ...}`, or in one of its choices; None
    when there is none."""
    failed = _failed(payload)
    if failed is None:
        return None
    said = _read(failed, _DEPTH)
    fault, param, about = _classify_in_band(said)
    message = shown(said.message) or "an error without a message"
    status = _status_of(said) if fault.of_request else 200  # it is the client's answer
    return Failure(
        fault, message, status=status, code=said.code, param=_named(param), retry_after=said.wait, about=about
    )


def _failed(payload: dict[str, Any]) -> dict[str, Any] | None:
    """What holds the error: the payload itself, or a choice of it, as aggregators write it."""
    if payload.get("error") or payload.get("object") == "error":
        return payload
    choices = payload.get("choices")
    if not choices and (payload.get("type") == "error" or not _SAYS_ERROR.isdisjoint(payload)):
        return payload
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("error"):
            return choice
    return None


def _classify_in_band(said: _Said) -> Meaning:
    """By the status that the error names: a client's mistake, or a rate limit, is no worse for being inside a 200."""
    status = _status_of(said)
    if status == 429 or status in _REQUEST_STATUS:
        return _classify(status, said)
    return Meaning(Fault.IN_BAND)


def _status_of(said: _Said) -> int:
    """The status that an error inside a 200 names, by number or by word; 0 where it names none."""
    if said.code and said.code.isdecimal():
        return int(said.code)
    return 400 if _CLIENTS.search(said.hints.lower()) else 0


def _classify(status: int, said: _Said) -> Meaning:
    words = f"{said.hints} {said.message[:_READ_CHARS]}".lower()
    if status == 429:
        return Meaning(Fault.RATE_LIMITED)
    if status >= 500 or status in _SERVER_STATUS:
        return Meaning(Fault.SERVER)
    if status in _REQUEST_STATUS:
        return meaning(words, said.param)
    if status == 402 and too_long(words):
        return Meaning(Fault.REJECTED, "context", "size")
    if status == 403 and against_content(words):
        return Meaning(Fault.REJECTED, "content_filter")
    return Meaning(Fault.ACCOUNT if status >= 400 else Fault.GARBAGE)


def _parse(text: bytes | str, depth: int) -> _Said:
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError:
        payload = None
    if isinstance(payload, (dict, list)):
        return _read(payload, depth)
    start = text[:_READ_CHARS]
    return _Said(_plain(start if isinstance(start, str) else start.decode("utf-8", "replace")))


def _read(payload: object, depth: int) -> _Said:
    """One error in any of the known shapes. `depth` bounds how far an error may be wrapped in another."""
    if isinstance(payload, list):
        return _read_fields(payload)
    if not isinstance(payload, dict) or depth == 0:
        return _Said()
    for name in ("error", "detail"):
        said = _read(payload.get(name), depth - 1)
        if said.message or said.code:
            return said if said.wait is not None else said._replace(wait=in_error(payload))
    return _read_flat(payload, depth)


def _read_flat(error: dict[str, Any], depth: int) -> _Said:
    message = next((text for name in ("message", "msg", "detail", "error") if (text := _string(error.get(name)))), "")
    code, kind, param = _word(error.get("code")), _word(error.get("type")), _string(error.get("param"))
    metadata = error.get("metadata")
    if not isinstance(metadata, dict):
        return _Said(message, code or kind, param, _joined(code, kind), in_error(error))
    inner = _read_raw(metadata.get("raw"), depth - 1)  # an aggregator wraps the host's own error
    hints = _joined(code, kind, _string(metadata.get("error_type")), inner.hints)
    waits = in_error(error), in_error(metadata), inner.wait
    wait = next((one for one in waits if one is not None), None)
    return _Said(inner.message or message, code or kind, param or inner.param, hints, wait)


def _read_raw(raw: object, depth: int) -> _Said:
    return _parse(raw, depth) if isinstance(raw, str) else _read(raw, depth)


def _read_fields(problems: list[Any]) -> _Said:
    """FastAPI's list of problems: `{"loc": ["body", "messages", 0, "role"], "msg": ..., "type": ...}`."""
    found = [problem for problem in problems if isinstance(problem, dict) and "msg" in problem]
    if not found:
        return _Said()
    places = [_place(problem.get("loc")) for problem in found]
    message = "; ".join(f"{place}: {problem['msg']}" for place, problem in zip(places, found, strict=True))
    return _Said(message, None, places[0] or None, _string(found[0].get("type")) or "")


def _place(location: object) -> str:
    parts = location if isinstance(location, list) else []
    return ".".join(str(part) for part in parts if part != "body")


def _plain(text: str) -> str:
    """Text as it is; of an HTML page, its title or else its words."""
    if "<" not in text:
        return text
    title = _TITLE.search(text)
    return title[1] if title else _TAG.sub(" ", text)


def shown(message: str) -> str:
    """A message that may be shown: one line, no secrets, bounded."""
    return _SECRET.sub("[redacted]", " ".join(message[:_READ_CHARS].split()))[:_MESSAGE_CHARS]


def _named(param: str | None) -> str | None:
    return shown(param) if param else None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _joined(*words: str | None) -> str:
    return " ".join(word for word in words if word)


def _word(value: object) -> str | None:
    """A code, which hosts write as text or as a number."""
    return shown(str(value))[:NAME_CHARS] if isinstance(value, (str, int)) and value != "" else None
