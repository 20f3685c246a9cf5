"""Reads a host's error and classifies it: which fault, and what to remember.

    status, headers, body ──classify─────────> Failure     an answer other than 200
    one parsed payload ─────classify_in_band─> Failure     an error inside a 200

Hosts write errors in seven shapes, nest the real error in JSON strings, and use one status for several errors. Where
the status is ambiguous, `rejection.py` decides by the text: a 400 about the context length is this host's limit.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from gateway.types import Failure, Fault
from gateway.upstream.rejection import NAME_CHARS, Meaning, against_content, meaning, too_long
from gateway.upstream.retry_after_parser import from_error, from_headers

_MESSAGE_CHARS = 500
_READ_CHARS = 8192  # how much of a host's text is searched
_ERROR_FIELDS = frozenset({"message", "detail", "msg", "errors"})  # without `choices`: an error
_DEPTH = 5  # levels: an aggregator's error around a host's error around its `detail`

_CREDENTIAL_STATUS = frozenset({401, 402, 403})
_REQUEST_STATUS = frozenset({400, 413, 422})
_SERVER_STATUS = frozenset({408, 409, 421, 423, 424, 425, 499})

# Some keys are UUIDs or random text, so any long run of letters and digits is redacted.
_SECRET = re.compile(
    r"bearer\s+[^\s\"',;]{8,}|(?<![\w-])[pg]?sk[-_][\w*.-]{4,}|(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{24,}",
    re.IGNORECASE,
)
_REQUEST_ERROR = re.compile(r"invalid_request|bad_?request|invalid_?parameter|context_length|unsupported_(param|value)")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


class _HostError(NamedTuple):
    """An error's fields. `hints` are its machine-readable ones, such as code and type; `wait` in seconds."""

    message: str = ""
    code: str | None = None
    param: str | None = None
    hints: str = ""
    wait: float | None = None


def classify(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: float) -> Failure:
    """The failure for an answer with this status. `now` is unix time, for the dates in headers."""
    error = _parse(body, _DEPTH)
    fault, param, about = _meaning(status, error)
    wait = from_headers(headers, now, fault is Fault.RATE_LIMITED)
    retry_after = error.wait if wait is None else wait
    message, private = redacted(error.message) or f"HTTP {status} without a message", ""
    if fault is Fault.ACCOUNT and status in _CREDENTIAL_STATUS:  # hosts may name the account, or quote its key
        message, private = (
            f"the host refused the gateway's account (HTTP {status})",
            redacted(error.message) or "nothing",
        )
    return Failure(fault, message, status, error.code, _named(param), retry_after, about, private)


def classify_in_band(payload: dict[str, Any]) -> Failure | None:
    """The error inside a 200's payload, `{"error": ...}` or `{"object": "error", ...}`, or inside one of its choices;
    None when there is none."""
    failed = _failed(payload)
    if failed is None:
        return None
    error = _read(failed, _DEPTH)
    fault, param, about = _meaning_in_band(error)
    message = redacted(error.message) or "an error without a message"
    status = _status_of(error) if fault.of_request else 200  # a mistake of the client keeps its status
    return Failure(
        fault, message, status=status, code=error.code, param=_named(param), retry_after=error.wait, about=about
    )


def _failed(payload: dict[str, Any]) -> dict[str, Any] | None:
    """The object that holds the error: the payload itself, or one of its choices, as aggregators send it."""
    if payload.get("error") or payload.get("object") == "error":
        return payload
    choices = payload.get("choices")
    if not choices and (payload.get("type") == "error" or not _ERROR_FIELDS.isdisjoint(payload)):
        return payload
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("error"):
            return choice
    return None


def _meaning_in_band(error: _HostError) -> Meaning:
    """By the status that the error names: a client's mistake and a rate limit count as such inside a 200 too."""
    status = _status_of(error)
    if status == 429 or status in _REQUEST_STATUS:
        return _meaning(status, error)
    return Meaning(Fault.IN_BAND)


def _status_of(error: _HostError) -> int:
    """The status that an error inside a 200 names by number or by type; 0 where it names none."""
    if error.code and error.code.isdecimal():
        return int(error.code)
    return 400 if _REQUEST_ERROR.search(error.hints.lower()) else 0


def _meaning(status: int, error: _HostError) -> Meaning:
    text = f"{error.hints} {error.message[:_READ_CHARS]}".lower()
    if status == 429:
        return Meaning(Fault.RATE_LIMITED)
    if status >= 500 or status in _SERVER_STATUS:
        return Meaning(Fault.SERVER)
    if status in _REQUEST_STATUS:
        return meaning(text, error.param)
    if status == 402 and too_long(text):
        return Meaning(Fault.REJECTED, "context", "size")
    if status == 403 and against_content(text):
        return Meaning(Fault.REJECTED, "content_filter")
    return Meaning(Fault.ACCOUNT if status >= 400 else Fault.GARBAGE)


def _parse(text: bytes | str, depth: int) -> _HostError:
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError:
        payload = None
    if isinstance(payload, (dict, list)):
        return _read(payload, depth)
    start = text[:_READ_CHARS]
    return _HostError(_plain(start if isinstance(start, str) else start.decode("utf-8", "replace")))


def _read(payload: object, depth: int) -> _HostError:
    """One error in any of the known shapes. `depth` bounds how deep errors may be nested."""
    if isinstance(payload, list):
        return _read_fields(payload)
    if not isinstance(payload, dict) or depth == 0:
        return _HostError()
    for name in ("error", "detail"):
        error = _read(payload.get(name), depth - 1)
        if error.message or error.code:
            return error if error.wait is not None else error._replace(wait=from_error(payload))
    return _read_flat(payload, depth)


def _read_flat(error: dict[str, Any], depth: int) -> _HostError:
    message = next((text for name in ("message", "msg", "detail", "error") if (text := _string(error.get(name)))), "")
    code, kind, param = _word(error.get("code")), _word(error.get("type")), _string(error.get("param"))
    metadata = error.get("metadata")
    if not isinstance(metadata, dict):
        return _HostError(message, code or kind, param, _joined(code, kind), from_error(error))
    inner = _read_raw(metadata.get("raw"), depth - 1)  # an aggregator wraps the host's own error
    hints = _joined(code, kind, _string(metadata.get("error_type")), inner.hints)
    waits = from_error(error), from_error(metadata), inner.wait
    wait = next((one for one in waits if one is not None), None)
    return _HostError(inner.message or message, code or kind, param or inner.param, hints, wait)


def _read_raw(raw: object, depth: int) -> _HostError:
    return _parse(raw, depth) if isinstance(raw, str) else _read(raw, depth)


def _read_fields(problems: list[Any]) -> _HostError:
    """FastAPI's list of problems: `{"loc": ["body", "messages", 0, "role"], "msg": ..., "type": ...}`."""
    found = [problem for problem in problems if isinstance(problem, dict) and "msg" in problem]
    if not found:
        return _HostError()
    places = [_place(problem.get("loc")) for problem in found]
    message = "; ".join(f"{place}: {problem['msg']}" for place, problem in zip(places, found, strict=True))
    return _HostError(message, None, places[0] or None, _string(found[0].get("type")) or "")


def _place(location: object) -> str:
    parts = location if isinstance(location, list) else []
    return ".".join(str(part) for part in parts if part != "body")


def _plain(text: str) -> str:
    """Plain text unchanged; of an HTML page its title, or else its text."""
    if "<" not in text:
        return text
    title = _TITLE.search(text)
    return title[1] if title else _TAG.sub(" ", text)


def redacted(message: str) -> str:
    """`message` fit for logs and clients: one line, secrets replaced, at most `_MESSAGE_CHARS` characters."""
    return _SECRET.sub("[redacted]", " ".join(message[:_READ_CHARS].split()))[:_MESSAGE_CHARS]


def _named(param: str | None) -> str | None:
    return redacted(param) if param else None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _joined(*words: str | None) -> str:
    return " ".join(word for word in words if word)


def _word(value: object) -> str | None:
    """A code, which hosts send as a string or as a number."""
    return redacted(str(value))[:NAME_CHARS] if isinstance(value, (str, int)) and value != "" else None
