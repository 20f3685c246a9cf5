"""What rows add to the store's sums."""

import msgspec
import pytest

from gateway.telemetry.rollups import DAY, RETENTION, SPENT_KEY, Sum, Summed, day_key, minute_key, slot_key, sums
from gateway.types import Row
from tests.support.rows import cached_row, row

AT = 1_763_764_210.0  # ten seconds into a slot
NOW = AT + 100.0
MINUTE, SLOT, TODAY = int(AT) // 60, int(AT) // 300, int(AT) // DAY
MODEL = "deepseek/deepseek-v3.2"


def added(*rows: Row) -> dict[str, Sum]:
    return sums([msgspec.json.decode(msgspec.json.encode(one), type=Summed) for one in rows], NOW)


def test_each_hash_gets_its_share_of_a_row() -> None:
    tokens = {"prompt": 1000, "cached": 400, "completion": 101, "reasoning": 20, "cost": 250_000_000}
    assert added(row(at=AT)) == {
        f"gw:minute:novita/fp8:{MINUTE}": Sum(MINUTE * 60 + RETENTION, {"attempts": 1, "ok": 1, **tokens}),
        f"gw:slot:{SLOT}": Sum(SLOT * 300 + DAY + 600, {"ok novita/fp8": 1, "judged novita/fp8": 1}),
        f"gw:day:team:{TODAY}": Sum(
            (TODAY + 32) * DAY,
            {f"{name} novita/fp8 {MODEL}": amount for name, amount in {"requests": 1, **tokens}.items()},
        ),
        "gw:spent": Sum(int(NOW) + 366 * DAY, {"team": 250_000_000}),
    }


def test_rows_of_one_key_add_up() -> None:
    found = added(row(at=AT), row(at=AT, model="other/model"), row(at=AT, tenant="other"), row(at=AT + 60, cost=1))
    assert found[minute_key("novita/fp8", MINUTE)].fields["attempts"] == 3
    assert found[minute_key("novita/fp8", MINUTE + 1)].fields["cost"] == 1
    assert found[slot_key(SLOT)].fields == {"ok novita/fp8": 4, "judged novita/fp8": 4}
    assert found[day_key("team", TODAY)].fields["requests novita/fp8 other/model"] == 1
    assert found[SPENT_KEY].fields == {"team": 500_000_001, "other": 250_000_000}


@pytest.mark.parametrize(
    ("outcome", "slot"),
    [
        ("ok", {"ok a/b": 1, "judged a/b": 1}),
        ("server", {"judged a/b": 1}),
        ("cut", {"judged a/b": 1}),
        ("rate_limited", {}),
        ("cancelled", {}),
    ],
)
def test_an_endpoint_is_judged_by_what_it_is_to_blame_for(outcome: str, slot: dict[str, int]) -> None:
    found = added(row(at=AT, endpoint="a/b", outcome=outcome))
    assert found[slot_key(SLOT)].fields == slot
    assert found[minute_key("a/b", MINUTE)].fields["attempts"] == 1


def test_an_attempt_that_another_followed_is_no_request() -> None:
    found = added(row(at=AT, last=False))[day_key("team", TODAY)].fields
    assert f"requests novita/fp8 {MODEL}" not in found
    assert found[f"prompt novita/fp8 {MODEL}"] == 1000


def test_what_sent_no_request_to_an_endpoint_adds_nothing() -> None:
    assert added(cached_row(at=AT)) == {}
