"""The messages of refusals."""

from gateway.keys.limiter import Refusal
from gateway.keys.quota import Quota
from gateway.keys.refusal import refused

MINUTE_BEGINS = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
NOW = MINUTE_BEGINS + 40


def quota() -> Quota:
    return Quota("key", "t", "tokens_per_minute", 1_000, NOW, 0)


def test_what_fits_already_does_not_fit_at_a_time_that_is_past() -> None:
    one = quota()
    message = str(refused(Refusal(one, 100, "reserved"), [one], "openai", NOW))
    assert message.endswith("retry soon, or such a request fits again at 2027-01-15 08:00:40 UTC, in 1 s")


def test_without_the_store_no_time_is_promised() -> None:
    one = quota()
    error = refused(Refusal(one, 100, "down"), [one], "openai", NOW)
    assert str(error).endswith("the gateway's store is down; retry soon")
    assert error.retry_after == 1.0
