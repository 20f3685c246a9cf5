"""What rows add to the store's sums."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from struct import unpack_from

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.contributions import Summed
from gateway.telemetry.packed import AMOUNTS, COUNTS, FAULT_NAMES, SIZE, SKETCHES, Packed
from gateway.telemetry.rollups import (
    DAY,
    SPENT_KEY,
    HashAddition,
    HourSums,
    RowSums,
    SeriesAddition,
    additions,
    day_key,
)
from gateway.telemetry.series import OTHER, hashed
from gateway.types import Row
from tests.support.rows import cached_row, row

AT = 1_763_764_210.0
NOW = AT + 100.0
MINUTE, TODAY = int(AT) // 60, int(AT) // DAY
MODEL = "deepseek/deepseek-v3.2"


def summed(rows: Sequence[Row]) -> list[Summed]:
    return [msgspec.json.decode(msgspec.json.encode(one), type=Summed) for one in rows]


def sums(*rows: Row) -> RowSums:
    found = RowSums()
    found.add(summed(rows))
    return found


def hashes(*rows: Row) -> dict[str, HashAddition]:
    return sums(*rows).hashes(NOW)


def minutes(*rows: Row) -> list[SeriesAddition]:
    return list(additions(sums(*rows).minutes(), "minute"))


def hours(*batches: Sequence[Row]) -> list[SeriesAddition]:
    found = HourSums()
    for batch in batches:
        found.add(sums(*batch).minutes())
    return list(additions(found.sums, "hour", "day"))


def packed(addition: SeriesAddition) -> Packed:
    """What an empty string holds after this addition."""
    return Packed.of(b"".join(addition.amounts.get(number, 0).to_bytes(8, "big") for number in range(SIZE // 8)))


def of(kind: str, *rows: Row) -> Packed:
    """What these rows add to the one series of a kind."""
    (found,) = [one for one in minutes(*rows) if f":{kind}:" in one.keys[0]]
    return packed(found)


def test_a_row_adds_to_its_model_endpoint_policy_app_and_key() -> None:
    found = {one.keys[1]: one for one in minutes(row(at=AT, app="Chat"))}
    start = f"gw:{{books}}:history:minute:{MINUTE}"
    assert found.keys() == {
        f"{start}:all:{MODEL} ",
        f"{start}:endpoint:{MODEL} novita/fp8",
        f"{start}:policy:{MODEL} balanced",
        f"{start}:app:{MODEL} Chat",
        f"{start}:key:{MODEL} {hashed('team')}",
    }


def test_a_series_has_a_minute_an_hour_and_a_day_with_an_expiry_each() -> None:
    (minute,) = [one for one in minutes(row(at=AT, app="Chat")) if one.name == "Chat"]
    (hour,) = [one for one in hours([row(at=AT, app="Chat")]) if one.name == "Chat"]
    for found, buckets in ((minute, [("minute", MINUTE)]), (hour, [("hour", MINUTE // 60), ("day", TODAY)])):
        assert found.keys == (
            f"gw:{{books}}:names:{TODAY}:app:{MODEL}",
            *(f"gw:{{books}}:history:{unit}:{bucket}:app:{MODEL} Chat" for unit, bucket in buckets),
            *(f"gw:{{books}}:history:{unit}:{bucket}:app:{MODEL} {OTHER}" for unit, bucket in buckets),
        )
    day = TODAY * DAY + 400 * DAY
    assert minute.expires == (MINUTE * 60 + 3 * 3_600, day)
    assert hour.expires == (MINUTE // 60 * 3_600 + 31 * DAY, day, day)


def test_a_tenant_is_a_hash() -> None:
    assert len(hashed("team")) == 8
    assert not any("team" in key for one in minutes(row(at=AT, tenant="team")) for key in one.keys)


@pytest.mark.parametrize(
    ("app", "shown"),
    [
        ("Chat", "Chat"),
        ("", ""),
        ("https://me:secret@chat.example/a/b?token=secret#secret", "https://chat.example/a/b"),
        ("https://[secret", ""),
    ],
)
def test_an_app_is_counted_without_what_may_be_private(app: str, shown: str) -> None:
    keys = [key for one in minutes(row(at=AT, app=app)) for key in one.keys]
    assert f"gw:{{books}}:history:minute:{MINUTE}:app:{MODEL} {shown}" in keys
    assert not any("secret" in key for key in keys)


def test_the_counts_of_a_good_answer() -> None:
    found = of("all", row(at=AT, tools="ok"))
    amounts = dict(zip(AMOUNTS, (1000, 400, 101, 20, 250_000_000, 180_000_000, 90_000_000, 0), strict=True))
    assert {name: found[name] for name in AMOUNTS} == amounts
    assert {name for name in COUNTS if found[name]} == set(COUNTS) - {"cached_answers"}
    assert {found.samples(sketch) for sketch in SKETCHES} == {1}
    assert not any(map(found.fault, FAULT_NAMES))


def test_a_failover_is_one_request_and_two_attempts() -> None:
    found = of("all", row(at=AT, outcome="server", last=False, ttft=None, throughput=None), row(at=AT, attempt=2))
    assert [found[name] for name in ("requests", "succeeded", "first_ok", "attempts", "ok", "judged")] == [
        1,
        1,
        0,
        2,
        1,
        2,
    ]
    assert found.fault("server") == 1


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [("ok", (1, 1)), ("server", (0, 1)), ("rate_limited", (0, 1)), ("account", (0, 1))]
    + [(name, (0, 0)) for name in ("cancelled", "malformed", "rejected")],
)
def test_uptime_counts_all_that_is_not_the_requests_fault(outcome: str, counted: tuple[int, int]) -> None:
    found = of("endpoint", row(at=AT, outcome=outcome))
    assert (found["ok"], found["judged"]) == counted
    assert found["attempts"] == 1


def test_a_first_attempt_that_a_hedge_overtook_did_not_fail() -> None:
    rows = row(at=AT, outcome="cancelled", hedge="beaten", last=False), row(at=AT, attempt=2, hedge="won")
    assert of("all", *rows)["first_ok"] == 1


def test_a_cached_answer_is_a_request_that_saved_its_former_cost() -> None:
    found = of("all", cached_row(at=AT, saved=7))
    counts = ("requests", "succeeded", "judged_requests", "first_ok", "cached_answers", "response_saved")
    assert [found[name] for name in counts] == [1, 1, 1, 1, 1, 7]
    assert (found["attempts"], found["prompt_saved"], found.samples("ttft"), found.samples("latency")) == (0, 0, 0, 1)


def test_times_are_the_clients_for_all_and_the_hosts_for_its_endpoint() -> None:
    one = row(at=AT, ttft=0.5, duration=2.0, client_ttft=5.0, client_duration=20.0)
    for kind, ttft, latency in (("all", 5.0, 20.0), ("policy", 5.0, 20.0), ("endpoint", 0.5, 2.0)):
        found = of(kind, one)
        assert found.quantiles("ttft")[0] == pytest.approx(ttft, rel=0.1)
        assert found.quantiles("latency")[0] == pytest.approx(latency, rel=0.1)


def test_a_slow_client_says_nothing_about_its_host() -> None:
    one = row(at=AT, held=True, throughput=None)
    assert (of("endpoint", one).samples("latency"), of("all", one).samples("latency")) == (0, 1)


def test_a_request_that_failed_has_no_latency() -> None:
    found = of("all", row(at=AT, outcome="cut", client_status=200))
    assert (found.samples("latency"), found.samples("ttft"), found["succeeded"]) == (0, 1, 0)


def test_counts_are_packed_in_pairs() -> None:
    """Two in one integer of 8 bytes: neither carries into the other."""
    (found,) = [one for one in minutes(*[row(at=AT)] * 300) if one.name == "balanced"]
    data = b"".join(found.amounts.get(number, 0).to_bytes(8, "big") for number in range(SIZE // 8))
    assert unpack_from(">2I", data, 96) == (300, 300)
    assert found.amounts[12] == (300 << 32) + 300


def test_every_string_has_its_whole_size_from_the_start() -> None:
    assert all(max(one.amounts) == SIZE // 8 - 1 for one in minutes(row(at=AT), cached_row(at=AT)))


OUTCOMES_OF_ROWS = st.sampled_from(["ok", "ok", "ok", "server", "rate_limited", "cancelled", "cut"])
ROWS = st.lists(
    st.builds(
        row,
        at=st.integers(0, 7_200).map(lambda ago: AT - ago),
        endpoint=st.sampled_from(["a/x", "b/y"]),
        policy=st.sampled_from(["balanced", "nitro"]),
        app=st.sampled_from(["", "Chat"]),
        tenant=st.sampled_from(["t", "u"]),
        outcome=OUTCOMES_OF_ROWS,
        ttft=st.none() | st.floats(0.001, 200.0),
        throughput=st.none() | st.floats(0.1, 5_000.0),
        client_duration=st.floats(0.0, 9_000.0),
        cost=st.integers(0, 2**53),
        last=st.booleans(),
    ),
    max_size=30,
)


def stored(batches: Sequence[Sequence[Row]]) -> dict[str, Packed]:
    """What a store holds after these batches, in any bucket."""
    held: dict[str, list[Packed]] = {}
    for one in [one for batch in batches for one in minutes(*batch)]:
        held.setdefault(one.keys[1], []).append(packed(one))
    for one in hours(*batches):
        for key in one.keys[1:3]:
            held.setdefault(key, []).append(packed(one))
    return {key: Packed.total(parts) for key, parts in held.items()}


@given(ROWS, st.randoms(use_true_random=False))
def test_any_split_over_workers_and_batches_gives_the_same_numbers(rows: list[Row], random: Random) -> None:
    shuffled = random.sample(rows, len(rows))
    cuts = sorted(random.randint(0, len(rows)) for _ in range(4))
    batches = [shuffled[start:end] for start, end in pairwise((0, *cuts, len(rows)))]
    assert stored(batches) == stored([rows])


@given(ROWS)
def test_each_kind_of_series_adds_up_to_the_whole(rows: list[Row]) -> None:
    held = stored([rows])
    for kind in ("policy", "app", "key"):
        parts = [one for key, one in held.items() if f":day:{TODAY}:{kind}:" in key]
        whole = held.get(f"gw:{{books}}:history:day:{TODAY}:all:{MODEL} ", Packed.total(()))
        assert Packed.total(parts) == whole


def test_apps_with_the_same_public_name_are_one_series() -> None:
    rows = [row(at=AT, app=f"https://chat.example/?user={number}") for number in range(3)]
    (found,) = [one for one in minutes(*rows) if one.name == "https://chat.example/"]
    assert packed(found)["requests"] == 3


def test_a_tenants_day() -> None:
    tokens = {"prompt": 1000, "cached": 400, "completion": 101, "reasoning": 20, "cost": 250_000_000}
    counted = {f"{name} novita/fp8 {MODEL}": amount for name, amount in {"requests": 1, **tokens}.items()}
    assert hashes(row(at=AT)) == {
        f"gw:{{books}}:day:team:{TODAY}": HashAddition((TODAY + 32) * DAY, counted),
        "gw:{books}:spent": HashAddition(int(NOW) + 366 * DAY, {"team": 250_000_000}),
    }


def test_rows_of_one_day_add_up() -> None:
    found = hashes(row(at=AT), row(at=AT, model="other/model"), row(at=AT, tenant="other"), row(at=AT + 60, cost=1))
    fields = found[day_key("team", TODAY)].fields
    assert fields["requests novita/fp8 other/model"] == 1
    assert fields[f"requests novita/fp8 {MODEL}"] == 2
    assert fields[f"cost novita/fp8 {MODEL}"] == 250_000_001
    assert found[SPENT_KEY].fields == {"team": 500_000_001, "other": 250_000_000}


def test_an_attempt_that_another_followed_is_no_request() -> None:
    found = hashes(row(at=AT, last=False))[day_key("team", TODAY)].fields
    assert f"requests novita/fp8 {MODEL}" not in found
    assert found[f"prompt novita/fp8 {MODEL}"] == 1000


def test_what_sent_no_request_to_an_endpoint_spent_nothing() -> None:
    assert hashes(cached_row(at=AT)) == {}
