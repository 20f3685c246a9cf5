"""`gateway keys`, with and without a running store."""

import json
import os
from pathlib import Path

import pytest
import redis

from gateway.cli import main
from gateway.keys.key_file import KeyFile
from tests.support.gateway import write_policy


class Ran:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "80"})
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What the command prints; on standard error where it fails."""
        with pytest.raises(SystemExit) as ended:
            main(["keys", *arguments])
        captured = self._capsys.readouterr()
        assert int(ended.value.code or 0) == code, captured.err
        return captured.err if code else captured.out


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ran:
    return Ran(monkeypatch, capsys, tmp_path)


def test_without_a_running_gateway_the_state_folder_has_them(run: Ran, tmp_path: Path) -> None:
    assert "no virtual keys" in run("list", "--state", "state")
    out = run("create", "app", "--state", "state", "--usd-per-day", "$5", "--expires", "2090-01-01", "--group", "team")
    assert out.startswith("app: sk-gw-")
    assert "not shown again" in out
    listed = run("--state", "state")
    assert all(word in listed for word in ("app", "team", "usd_per_day 5", "2090-01-01"))
    again = run("rotate", "app", "--grace", "1h", "--state", "state")
    assert "the former secret works until" in again
    assert "revoked: app" in run("revoke", "app", "--state", "state")
    (record,) = KeyFile(tmp_path / "state").read()
    assert record.revoked is not None
    assert "there is no key `app`" in run("revoke", "app", "--state", "state", code=2)


@pytest.mark.parametrize(
    ("option", "name", "known"),
    [
        ("--policy", "baalanced", "known policies: balanced,"),
        ("--allow-policy", "mine", "known policies: balanced,"),
        ("--allow-model", "gpt-9", "known models: deepseek"),
    ],
)
def test_a_name_that_does_not_exist(run: Ran, tmp_path: Path, option: str, name: str, known: str) -> None:
    failed = run("create", "app", "--state", "state", option, name, code=2)
    assert f"`{name}`" in failed
    assert known in failed
    assert "no virtual keys" in run("list", "--state", "state")


def test_a_policy_of_ones_own_is_known(run: Ran, tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", "mine")
    create = ("create", "app", "--state", "state", "--policy", "mine", "--allow-model", "deepseek-chat")
    assert "there is no policy `mine`" in run(*create, code=2)
    assert run(*create, "--policies", "policies").startswith("app: sk-gw-")


def test_in_a_store(run: Ran, valkey: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    (tmp_path / "gateway.yaml").write_text(f"redis: {{url: '{valkey}'}}\nkeys: [{{tenant: mine, key: sk-mine}}]\n")
    created = json.loads(run("create", "app", "--requests-per-minute", "5", "--allow-policy", "floor", "--json"))
    assert created["key"].startswith("sk-gw-")
    assert (created["requests_per_minute"], created["policies"]) == (5, ["floor"])
    (listed,) = json.loads(run("list", "--json"))
    assert created["key"] not in str(listed)
    assert "digest" not in listed
    assert "tenant of gateway.yaml" in run("create", "mine", code=2)


def test_a_store_that_is_away_is_named(run: Ran, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("redis: {url: 'redis://user:secret@127.0.0.1:1/0'}\n")
    errors = run("list", code=2)
    assert "the store cannot be reached" in errors
    assert "secret" not in errors


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("create",), "write the name of the key: keys create NAME"),
        (("list", "app"), "`list` takes no name"),
        (("rotate", "app", "--group", "x"), "belong to `gateway keys create`"),
        (("create", "app", "--grace", "1h"), "--grace belongs to `gateway keys rotate`"),
        (("create", "app", "--usd-per-day", "5"), "write it as in `$"),
        (("create", "app", "--expires", "soon"), "write a date or time in UTC"),
    ],
)
def test_mistakes_are_named(run: Ran, arguments: tuple[str, ...], why: str) -> None:
    assert why in run(*arguments, code=2)
