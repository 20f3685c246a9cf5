"""`gateway ledger` as users run it."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from gateway.cli import app, main
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import Ledger
from tests.support.rows import row

AT = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
DOCS = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text(encoding="utf-8")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command over a ledger of three attempts, one of which was killed."""
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(StateFolder(tmp_path / "state").ledger)
    ledger.append(row(at=AT, cost=10**12, key="team-a"))
    ledger.append(row(at=AT, cost=10**12, key="team-b", outcome="killed", usage_source="estimated"))
    ledger.append(row(at=AT + 86_400, cost=10**12))

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["ledger", name, *arguments, "--state", str(tmp_path / "state")])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_export_writes_the_rows_that_are_wanted(run: Run, tmp_path: Path) -> None:
    code, out, err = run("export", "--key", "team-a")
    assert (code, err, json.loads(out)["cost"]) == (0, "1 rows\n", 1)
    code, out, err = run("export", "--until", "2026-12-01", "--format", "csv", "--out", str(tmp_path / "rows.csv"))
    assert (code, out, err) == (0, "", "2 rows\n")
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("named", [True, False], ids=["by --config", "in this folder"])
def test_the_state_folder_is_that_of_the_configuration(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ("other.yaml" if named else "gateway.yaml")
    file.write_text("state: elsewhere\n")
    Ledger(StateFolder(tmp_path / "elsewhere").ledger).append(row(at=AT))
    with pytest.raises(SystemExit):
        main(["ledger", "export", *(["--config", str(file)] if named else [])])
    assert capsys.readouterr().err == "1 rows\n"


def test_an_invoice_that_agrees(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text("host,day,cost\nnovita,2026-11-30,2\n")
    assert run("reconcile", "bill.csv") == (0, "1 days of hosts: the invoice and the ledger agree\n", "")


def test_an_invoice_that_differs_is_explained_in_80_columns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text("host,day,prompt_tokens,usd\nnovita,2026-11-30,2000,1.5\n")
    code, out, _ = run("reconcile", "bill.csv", "--column", "cost=usd")
    assert code == 1
    assert re.search(r"novita 2026-11-30 USD +1\.5000 +2\.0000 +-0\.5000", out)
    assert "novita 2026-11-30: 1 killed (1.0000 USD)" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_bad_invoice_is_named_by_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text("host,day,cost\nnovita,2026-11-30,many\n")
    code, _, err = run("reconcile", "bill.csv")
    assert (code, "bill.csv:2: `cost` is not an amount in USD" in err) == (2, True)
    assert run("reconcile", "missing.csv")[0] == 2
    assert run("reconcile", "bill.csv", "--column", "price=x")[0] == 2


def test_a_store_that_is_down_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_REDIS_URL", "unix:///nowhere")
    code, _, err = run("export")
    assert (code, "--local" in err) == (2, True)
    assert run("export", "--local")[0] == 0


@pytest.mark.parametrize("name", ["export", "reconcile"])
def test_every_flag_is_documented(name: str) -> None:
    group = app.commands["ledger"]
    assert isinstance(group, click.Group)
    section = DOCS.split(f"\n## gateway ledger {name}\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(--[a-z-]+)` \|", section, re.MULTILINE)
    flags = [flag for one in group.commands[name].params for flag in one.opts if flag.startswith("--")]
    assert documented == flags
