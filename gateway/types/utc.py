"""Times as text: ISO 8601 in UTC, as in `2026-11-30T09:18:39Z`. As numbers, they are unix time in seconds."""

from datetime import UTC, datetime


def utc_text(at: float) -> str:
    """To the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def utc_text_in_ms(at: float) -> str:
    """To the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_time(text: str) -> float:
    """The time of a date, with or without a time of day; UTC where it has no offset. Raises ValueError,
    OverflowError."""
    found = datetime.fromisoformat(text)
    return (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
