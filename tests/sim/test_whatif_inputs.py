import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.sim.baselines import RULES
from gateway.sim.fleetfile import read_fleet
from gateway.sim.generated import agent_sessions
from gateway.sim.sim_host import MODEL
from gateway.sim.whatif_inputs import chosen_baselines, chosen_fleet, chosen_model, chosen_policies, chosen_rows
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import Ledger
from gateway.types import Model
from tests.sim.test_fitted import ENDPOINTS, attempt
from tests.support.gateway import write_policy

SETTINGS = Settings(models=(Model("m", "M", 1000, tuple(ENDPOINTS.values())),))
V3 = (Model(MODEL, "V3.2", 1000, tuple(ENDPOINTS.values())),)


def test_policies_by_name_by_file_and_by_default(tmp_path: Path) -> None:
    write_policy(tmp_path, "mine", about="Mine.")
    chosen = chosen_policies(["nitro", str(tmp_path / "mine.yaml")], SETTINGS)
    assert [policy.name for policy in chosen] == ["nitro", "mine"]
    assert [policy.name for policy in chosen_policies([], SETTINGS)] == ["balanced", "floor", "nitro"]
    other = replace(SETTINGS, default_policy="slo")
    assert [policy.name for policy in chosen_policies([], other)] == ["slo", "balanced", "floor", "nitro"]


def test_other_routers_by_name_and_by_default() -> None:
    assert chosen_baselines(["sticky"]) == ["sticky"]
    assert set(chosen_baselines([])) < RULES.keys()
    with pytest.raises(ConfigError, match="--baseline openroute: unknown router; did you mean"):
        chosen_baselines(["openroute"])


def test_a_trace_is_a_sample_a_file_or_drawn(tmp_path: Path) -> None:
    what, rows = chosen_rows(None, 50, None)
    assert (what, len(rows)) == ("a sample of real traffic", 50)
    path = write_trace(tmp_path / "mine.jsonl", None, None)
    what, rows = chosen_rows(path, 50, None)
    assert (what, len(rows)) == (path, 2)
    what, rows = chosen_rows("agent-sessions", 50, None)
    assert (what, rows) == ("agent-sessions", agent_sessions()[:50])


def test_two_versions_of_a_policy_are_distinguished_by_their_files(tmp_path: Path) -> None:
    write_policy(tmp_path, "floor")
    path = str(tmp_path / "floor.yaml")
    assert [policy.name for policy in chosen_policies(["floor", path], SETTINGS)] == ["floor", path]


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--policy flor: unknown policy; did you mean `floor`\?"):
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
    which, hosts = chosen_fleet(None, settings, warnings.append)
    assert [(host.id, host.ttft.p50) for host in hosts] == [("a", 2.0), ("b", 2.0)]
    assert which == "fitted from this gateway's ledger"
    assert chosen_fleet("real", settings, warnings.append) == ("real", read_fleet("real"))
    assert warnings == []


def test_a_ledger_that_knows_nothing_leaves_it_to_the_fleet_real(tmp_path: Path) -> None:
    settings = replace(SETTINGS, state=tmp_path)
    assert chosen_fleet(None, settings, pytest.fail) == ("real", read_fleet("real"))
    assert chosen_fleet(None, replace(settings, models=V3), pytest.fail, V3[0].id)[0] == "real"
    with pytest.raises(
        ConfigError, match="has no answers yet; name another folder with `--state`, or use `--fleet real`"
    ):
        chosen_fleet(None, settings, pytest.fail, "m")  # the fleet `real` serves another model


def test_one_host_is_no_comparison(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert chosen_fleet(None, write_ledger(tmp_path, a=30, b=3), warnings.append)[0] == "real"
    assert warnings == ["1 of 2 endpoints in the ledger has 20 streamed answers; using `--fleet real` instead"]


def test_endpoints_with_too_few_answers_are_named(tmp_path: Path) -> None:
    warnings: list[str] = []
    settings = write_ledger(tmp_path, a=30, b=3)
    assert [host.id for host in chosen_fleet(None, settings, warnings.append, own=True)[1]] == ["a"]
    assert warnings == [
        "1 of 2 endpoints in the ledger has 20 streamed answers; left out: b; "
        "with one host all policies behave alike; for more hosts use `--fleet real`"
    ]


def test_a_ledger_with_too_few_answers_is_named(tmp_path: Path) -> None:
    settings = write_ledger(tmp_path, a=3)
    with pytest.raises(ConfigError) as refused:
        chosen_fleet(None, settings, pytest.fail, own=True)
    why = f"{tmp_path}: no endpoint has 20 streamed answers yet; use `--fleet real`"
    assert refused.value.problems == (why,)


# --- several models


TWO = Settings(
    models=(Model("m", "M", 1000, (ENDPOINTS["a"],), aliases=("em",)), Model("n", "N", 1000, (ENDPOINTS["b"],)))
)


def both(state: Path, **models: str) -> Settings:
    """A ledger with 20 answers of each endpoint, which served this model."""
    ledger = Ledger(StateFolder(state).ledger)
    for name, model in models.items():
        for _ in range(20):
            ledger.append(attempt(name, model=model))
    ledger.close()
    return replace(TWO, state=state)


def test_hosts_of_two_models_are_no_rivals(tmp_path: Path) -> None:
    settings, warnings = both(tmp_path, a="m", b="n"), list[str]()
    assert [host.id for host in chosen_fleet(None, settings, warnings.append, "m")[1]] == ["a"]
    assert [host.id for host in chosen_fleet(None, settings, warnings.append, "n")[1]] == ["b"]
    with pytest.raises(ConfigError, match=r"the ledger in .* has answers of m and n; name one with `--model`"):
        chosen_fleet(None, settings, warnings.append)


def test_the_only_model_in_the_ledger_needs_no_name(tmp_path: Path) -> None:
    warnings: list[str] = []
    settings = both(tmp_path, b="n")
    assert [host.id for host in chosen_fleet(None, settings, warnings.append, own=True)[1]] == ["b"]


def test_a_model_by_any_of_its_names() -> None:
    assert [chosen_model(name, TWO) for name in (None, "m", "em", "n")] == [None, "m", "m", "n"]
    with pytest.raises(ConfigError, match="--model zz: unknown model; write one of em, m, n"):
        chosen_model("zz", TWO)


def write_trace(path: Path, *models: str | None) -> str:
    rows = [{"t": t, "input_tokens": 9, "output_tokens": 9, "prefix_hashes": []} for t in range(len(models))]
    named = [row | ({"model": model} if model else {}) for row, model in zip(rows, models, strict=True)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in named))
    return str(path)


def test_requests_of_one_model(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace.jsonl", "m", "n", None, "m", "m")
    assert [row.t for row in chosen_rows(trace, 3, "m")[1]] == [0.0, 2.0, 3.0]
    assert [row.t for row in chosen_rows(trace, 9, "n")[1]] == [1.0, 2.0]
    with pytest.raises(ConfigError, match="has requests of m and n; name one with `--model`"):
        chosen_rows(trace, 9, None)
    assert len(chosen_rows(write_trace(tmp_path / "one.jsonl", "m", None), 9, None)[1]) == 2
    with pytest.raises(ConfigError, match="has no requests of n; record some"):
        chosen_rows(write_trace(tmp_path / "other.jsonl", "m"), 9, "n")
