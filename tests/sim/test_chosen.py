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


def test_the_fleet_is_what_the_ledger_says_unless_one_is_named(tmp_path: Path) -> None:
    settings = replace(SETTINGS, state=tmp_path)
    ledger = Ledger(StateFolder(tmp_path).ledger)
    for _ in range(30):
        ledger.append(attempt("a", ttft=2.0))
    ledger.close()
    assert [(host.id, host.ttft.p50) for host in chosen_fleet(None, settings)] == [("a", 2.0)]
    assert len(chosen_fleet("real", settings)) == 6
