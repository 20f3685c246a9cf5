"""Virtual keys, followed by every worker and replica in the store; without it the last known ones stay."""

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path

import pytest
import redis

from gateway.config import Key
from gateway.errors import BadRequest, ConfigError, NotFound, Unauthorized
from gateway.intake.auth import LOCAL, Keys
from gateway.keys import key_desk, key_record
from gateway.keys.key_book import REMEMBERED, KeyBook
from gateway.keys.key_desk import KeyDesk
from gateway.keys.key_file import KeyFile
from gateway.keys.key_record import KeyRecord
from gateway.keys.key_store import RECORDS, VERSION, KeyStore
from gateway.state.conditions import Conditions
from tests.support.gateway import NO_STORE, in_process
from tests.support.host import ScriptedHost, answers, completion


class Replica:
    """The keys of one worker."""

    def __init__(self, url: str, folder: Path, own: tuple[Key, ...] = ()) -> None:
        self.keys = Keys(())
        self.store = KeyStore(url)
        self.book = KeyBook(own, False, self.store, KeyFile(folder), self.keys.replace, Conditions())

    def tenant(self, secret: str) -> str | None:
        """Of a client with this secret; None where it is refused."""
        try:
            return self.keys.of({b"authorization": f"Bearer {secret}".encode()}).tenant
        except Unauthorized:
            return None


Make = Callable[..., Replica]


@pytest.fixture
async def make(valkey: str, tmp_path: Path) -> AsyncIterator[Make]:
    """A replica over the store, which was empty, with a state folder of its own; the same again by its name."""
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    made: list[Replica] = []

    def make(name: str = "one", url: str = valkey, own: tuple[Key, ...] = ()) -> Replica:
        (tmp_path / name).mkdir(exist_ok=True)
        made.append(Replica(url, tmp_path / name, own))
        return made[-1]

    yield make
    for one in made:
        one.book.close()
    await asyncio.sleep(0)  # the sockets close


def wanted(name: str, **fields: object) -> KeyRecord:
    return KeyRecord(name=name, digest="", created=0.0, changed=0, **fields)  # type: ignore[arg-type]


async def test_a_key_is_known_to_all_and_revoked_for_all(make: Make) -> None:
    one, two = make("one"), make("two")
    desk = KeyDesk(one.store, ())
    assert (one.keys.of({}), one.tenant("anything")) == (LOCAL, "local")
    _, secret = await desk.create(wanted("app", group="team", usd_per_day=1.0))
    assert await two.book.follow()
    assert (two.tenant(secret), two.tenant("sk-other"), two.tenant("")) == ("app", None, None)
    await desk.revoke("app")
    assert await two.book.follow()
    assert two.tenant(secret) is None
    with pytest.raises(Unauthorized):
        two.keys.of({})  # a gateway that had keys does not open when the last one is revoked


async def test_a_rotated_secret_works_for_its_grace_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make()
    desk = KeyDesk(one.store, ())
    _, first = await desk.create(wanted("app"))
    record, second = await desk.rotate("app", grace=60.0)
    await one.book.follow()
    assert (one.tenant(first), one.tenant(second)) == ("app", "app")
    monkeypatch.setattr("gateway.intake.auth.time", lambda: record.former_secrets[0].until + 1)
    assert (one.tenant(first), one.tenant(second)) == (None, "app")
    monkeypatch.undo()
    _, third = await desk.rotate("app", grace=0.0)
    await one.book.follow()
    assert [one.tenant(secret) for secret in (first, second, third)] == [None, None, "app"]


async def test_each_former_secret_works_for_its_own_grace_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second rotation neither ends nor prolongs what the first one promised."""
    one = make()
    desk = KeyDesk(one.store, ())
    _, first = await desk.create(wanted("app"))
    _, second = await desk.rotate("app", grace=3_600.0)
    record, third = await desk.rotate("app", grace=60.0)
    await one.book.follow()
    secrets = first, second, third
    assert [one.tenant(secret) for secret in secrets] == ["app"] * 3
    ends = [former.until for former in record.former_secrets]
    for after, expected in ((min(ends), ["app", None, "app"]), (max(ends), [None, None, "app"])):
        monkeypatch.setattr("gateway.intake.auth.time", lambda after=after: after + 1)
        assert [one.tenant(secret) for secret in secrets] == expected


async def test_so_many_former_secrets_work_at_once(make: Make) -> None:
    desk = KeyDesk(make().store, ())
    await desk.create(wanted("app"))
    for _ in range(key_desk.MOST_FORMER):
        record, _ = await desk.rotate("app")
    with pytest.raises(BadRequest, match="10 former secrets of this key still work"):
        await desk.rotate("app")
    record, _ = await desk.rotate("app", grace=0.0)
    assert record.former_secrets == ()


async def test_revoking_ends_the_grace_time_too(make: Make) -> None:
    one = make()
    desk = KeyDesk(one.store, ())
    _, first = await desk.create(wanted("app"))
    _, second = await desk.rotate("app")
    await desk.revoke("app")
    await one.book.follow()
    assert (one.tenant(first), one.tenant(second)) == (None, None)


async def test_without_a_store_the_last_known_keys_stay_and_revocations_too(make: Make) -> None:
    one = make()
    desk = KeyDesk(one.store, ())
    _, kept = await desk.create(wanted("kept"))
    _, gone = await desk.create(wanted("gone"))
    await desk.revoke("gone")
    await one.book.follow()
    again = make("one", NO_STORE)
    assert not await again.book.follow()
    assert (again.tenant(kept), again.tenant(gone)) == ("kept", None)


async def test_a_store_that_lost_or_took_back_its_data_is_filled_again(make: Make, valkey: str) -> None:
    one, two = make("one"), make("two")
    desk = KeyDesk(one.store, ())
    _, secret = await desk.create(wanted("app"))
    with redis.Redis.from_url(valkey) as client:
        before: dict[bytes, bytes] = client.hgetall(RECORDS)  # type: ignore[assignment]
        await desk.revoke("app")
        await one.book.follow()
        client.flushdb()
        client.hset(RECORDS, mapping=before)  # type: ignore[arg-type]
        client.set(VERSION, b"an older one")
    await two.book.follow()
    assert two.tenant(secret) == "app"  # all that it can know
    await one.book.follow()
    await two.book.follow()
    assert (one.tenant(secret), two.tenant(secret)) == (None, None)
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    await one.book.follow()
    assert [record.revoked is not None for record in await one.store.records()] == [True]


async def test_a_key_of_gateway_yaml_has_precedence(make: Make) -> None:
    own = Key("app", sha256(b"sk-own").digest())
    one = make(own=(own,))
    with pytest.raises(BadRequest):
        await KeyDesk(one.store, ["app"]).create(wanted("app"))
    _, secret = await KeyDesk(one.store, ()).create(wanted("app"))
    await one.book.follow()
    assert (one.tenant("sk-own"), one.tenant(secret)) == ("app", None)
    one.book.replace((), required=False)
    assert (one.tenant("sk-own"), one.tenant(secret)) == (None, "app")


async def test_two_changes_at_once_do_not_overwrite_each_other(make: Make) -> None:
    one = make()
    desk = KeyDesk(one.store, ())
    record, _ = await desk.create(wanted("app"))
    await desk.change("app", usd_per_day=1.0)
    assert not await one.store.put(record, record.changed)
    with pytest.raises(BadRequest):
        await desk.create(wanted("app"))
    with pytest.raises(NotFound):
        await desk.rotate("other")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"name": "app/rotate"},
        {"group": "\x1b[2J"},
        {"policy": ""},
        {"models": ("a\tb",)},
        {"policies": ("floor",) * 65},
        {"usd_per_day": 0.0},
        {"usd_per_day": 1e-12},  # none of the meter's units
        {"usd_per_month": 1e300},
        {"usd_per_month": float("nan")},
        {"requests_per_minute": 10**30},
    ],
)
async def test_what_no_key_may_be(make: Make, fields: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        await KeyDesk(make().store, ()).create(wanted(**{"name": "app", **fields}))  # type: ignore[arg-type]


async def test_a_key_that_was_revoked_long_ago_is_forgotten(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = make()
    desk = KeyDesk(one.store, ())
    record, _ = await desk.create(wanted("old"))
    await desk.revoke("old")
    await one.book.follow()
    later = record.created + REMEMBERED + 60
    monkeypatch.setattr("gateway.keys.key_desk.time", lambda: later)
    monkeypatch.setattr("gateway.keys.key_book.time", lambda: later)
    await desk.create(wanted("new"))
    await one.book.follow()
    assert [record.name for record in await one.store.records()] == ["new"]
    assert [record.name for record in one.book.records] == ["new"]
    assert [record.name for record in KeyFile(tmp_path / "one").read()] == ["new"]


async def test_no_secret_is_kept(make: Make, valkey: str, tmp_path: Path) -> None:
    one = make()
    _, secret = await KeyDesk(one.store, ()).create(wanted("app"))
    await one.book.follow()
    path = tmp_path / "one" / "keys.json"
    with redis.Redis.from_url(valkey) as client:
        stored: list[bytes] = client.hvals(RECORDS)  # type: ignore[assignment]
    assert secret.startswith(key_record.PREFIX)
    assert secret.encode() not in path.read_bytes() + b"".join(stored)
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in repr(one.keys) + repr(one.book)


def test_a_damaged_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("[{")
    with pytest.raises(ConfigError, match="keys cannot be read"):
        KeyFile(tmp_path).read()


async def test_a_running_gateway_follows(tmp_path: Path, make: Make, valkey: str) -> None:
    """Without a restart, and with the key's limits."""
    desk = KeyDesk(make().store, ())
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        in_process(tmp_path, "direct", {"a/fp8": host.url}, store=valkey) as running,
    ):
        _, secret = await desk.create(wanted("app", requests_per_minute=3, policies=("floor",), policy="floor"))
        key = {"authorization": f"Bearer {secret}"}
        async with asyncio.timeout(60):
            while (await running.chat()).status_code != 401:
                await asyncio.sleep(0.05)
        statuses = [(await running.chat(headers=key)).status_code for _ in range(5)]
        assert statuses[0] == 200
        assert 429 in statuses
        assert (await running.chat(headers=key, model="deepseek-v3.2:nitro")).status_code == 403
        await desk.revoke("app")
        async with asyncio.timeout(60):
            while (await running.chat(headers=key)).status_code != 401:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"name": "\x80"}'])
def test_a_record_that_cannot_be_read_is_none(data: bytes) -> None:
    assert key_record.decoded(data) is None
