from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.sim.chosen import chosen_fleet, chosen_policies
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import Ledger
from gateway.types import Model
from tests.sim.test_fitted import ENDPOINTS, attempt
from tests.support.gateway import write_policy

SETTINGS = Settings(models=(Model("m", "M", 1000, 0, (), tuple(ENDPOINTS.values())),))


def test_policies_by_name_by_file_and_by_default(tmp_path: Path) -> None:
    write_policy(tmp_path, "mine", about="Mine.")
    chosen = chosen_policies(["nitro", str(tmp_path / "mine.yaml")], SETTINGS)
    assert [policy.name for policy in chosen] == ["nitro", "mine"]
    assert [policy.name for policy in chosen_policies([], SETTINGS)] == ["balanced"]


def test_two_versions_of_a_policy_are_told_apart_by_their_files(tmp_path: Path) -> None:
    write_policy(tmp_path, "floor")
    path = str(tmp_path / "floor.yaml")
    assert [policy.name for policy in chosen_policies(["floor", path], SETTINGS)] == ["floor", path]


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--policy flor: no policy has that name; did you mean `floor`\?"):
        chosen_policies(["flor"], SETTINGS)


def write_ledger(state: Path, **answers: int) -> Settings:
    """A ledger with so many answers of each endpoint."""
    ledger = Ledger(StateFolder(state).ledger)
    for name, count in answers.items():
        for _ in range(count):
            ledger.append(attempt(name, ttft=2.0))
    ledger.close()
    return replace(SETTINGS, state=state)


def test_the_fleet_is_what_the_ledger_says_unless_one_is_named(tmp_path: Path) -> None:
    settings, warnings = write_ledger(tmp_path, a=30, b=20), list[str]()
    hosts = chosen_fleet(None, settings, warnings.append)
    assert [(host.id, host.ttft.p50) for host in hosts] == [("a", 2.0), ("b", 2.0)]
    assert len(chosen_fleet("real", settings, warnings.append)) == 6
    assert warnings == []


def test_endpoints_with_too_few_answers_are_named(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert [host.id for host in chosen_fleet(None, write_ledger(tmp_path, a=30, b=3), warnings.append)] == ["a"]
    assert warnings == [
        "1 of 2 endpoints in the ledger has 20 streamed answers; left out: b; "
        "with one host every policy does the same; for more hosts use `--fleet real`"
    ]


def test_a_ledger_that_knows_nobody_is_named(tmp_path: Path) -> None:
    settings = write_ledger(tmp_path, a=3)
    with pytest.raises(ConfigError) as refused:
        chosen_fleet(None, settings, pytest.fail)
    why = f"no endpoint has 20 streamed answers in {tmp_path} yet; give `--state` or `--fleet real`"
    assert refused.value.problems == (why,)
