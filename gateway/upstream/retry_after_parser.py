"""How long a host asks to wait before a retry, from the headers of its answer or from the error object.

    retry-after-ms, retry-after, x-ratelimit-reset-* ──from_headers──┐
    {"retry_after": 20}, {"retryDelay": "13s"}, ... ───from_error────┴──> seconds, or None

`Retry-After` counts with any status. `x-ratelimit-reset-*` comes with successful answers too, so it counts only for a
429.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

_LONGEST = 3600.0  # seconds; a longer wait is cut to one hour
_EPOCH = 1e9  # a number above this is a unix time, not a duration
_EPOCH_MS = 1e12
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FIELDS = {"retry_after": 1.0, "retry_after_seconds": 1.0, "retryAfter": 1.0, "retry_after_ms": 0.001}


def from_headers(headers: Iterable[tuple[bytes, bytes]], now: float, limited: bool) -> float | None:
    """Seconds to wait, by the most explicit header. Of several `x-ratelimit-reset-*` the nearest counts.

    `now` is unix time, to which dates are compared. `limited`: the answer is a rate limit.
    """
    found = {name.lower().decode("latin-1"): value.decode("latin-1").strip() for name, value in headers}
    wait = _number(found.get("retry-after-ms"))
    if wait is not None:
        return _bounded(wait / 1000)
    if "retry-after" in found:
        return _bounded(_seconds(found["retry-after"], now))
    if not limited:
        return None
    resets = [_seconds(value, now) for name, value in found.items() if name.startswith("x-ratelimit-reset")]
    return _bounded(min((reset for reset in resets if reset is not None), default=None))


def from_error(error: Mapping[str, Any]) -> float | None:
    """Seconds to wait, by the fields of an error object, Google's `RetryInfo` included."""
    for name, unit in _FIELDS.items():
        wait = _duration(error.get(name))
        if wait is not None:
            return _bounded(wait * unit)
    details = error.get("details")
    delays = [one.get("retryDelay") for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    return _bounded(max((wait for delay in delays if (wait := _duration(delay)) is not None), default=None))


def _duration(value: object) -> float | None:
    """A number, or a text that is a duration."""
    if isinstance(value, str):
        number = _number(value)
        return _units(value) if number is None else number
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _seconds(text: str, now: float) -> float | None:
    """Seconds from `now`: of a duration (`12`, `1.5`, `6m0s`, `20ms`), a unix time in s or ms, or an HTTP date."""
    number = _number(text)
    if number is not None:
        return number if number < _EPOCH else number / (1000 if number >= _EPOCH_MS else 1) - now
    duration = _units(text)
    if duration is not None:
        return duration
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now


def _units(text: str) -> float | None:
    """`6m0s` in seconds."""
    if not re.fullmatch(r"([0-9.]{1,20}(ms|s|m|h|d)){1,6}", text):
        return None
    return sum((_number(n) or 0.0) * _UNITS[unit] for n, unit in re.findall(r"([0-9.]+)(ms|s|m|h|d)", text))


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{0,9})?", text) else None


def _bounded(wait: float | None) -> float | None:
    return None if wait is None else min(max(wait, 0.0), _LONGEST)
