"""Times in UTC, from text and as text."""

import pytest

from gateway.types.utc import unix_time, utc_text, utc_text_in_ms

AT = 1_796_030_319.25  # 2026-11-30T09:18:39.25Z


def test_text_is_to_the_second_or_the_millisecond() -> None:
    assert utc_text(AT) == "2026-11-30T09:18:39Z"
    assert utc_text_in_ms(AT) == "2026-11-30T09:18:39.250Z"
    assert utc_text_in_ms(0.0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-02", 86_400.0),
        ("1970-01-01T01:00", 3_600.0),
        ("1970-01-01T01:00:00Z", 3_600.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("2026-11-30T09:18:39.250Z", AT),
    ],
)
def test_without_an_offset_text_is_utc(text: str, at: float) -> None:
    assert unix_time(text) == at


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01", "9999-12-31T23:00:00-05:00"])
def test_what_is_no_time_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        unix_time(text)
