"""Names that are looked up across gateway.yaml, the catalogue and the policies; and what cannot serve as things are."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load
from gateway.config.unusual_prices import unusual_prices
from gateway.config_check import ConfigFindings, check_config, doubts, obstacles
from gateway.policy.policies import Policies, shipped_folder
from gateway.types import Endpoint
from tests.support.gateway import write_config, write_policy

HOSTS = {"rack/one": "http://127.0.0.1:1", "rack/two": "http://127.0.0.1:2"}


def findings(folder: Path, environ: Mapping[str, str] | None = None, **settings: Any) -> ConfigFindings:
    """Two endpoints of the provider `rack` as the only ones, and the policies in `folder`/policies."""
    (folder / "policies").mkdir(exist_ok=True)
    provider = {"provider": "rack", "status": "self_hosted"}
    config = write_config(folder, HOSTS, provider, policies=str(folder / "policies"), **settings)
    loaded = load(config, environ or {})
    return check_config(loaded, Policies(loaded.policies).current)


def test_a_sound_configuration_has_no_problems(tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", "mine", require={"only": ["rack"], "ignore": ["rack/one"]})
    write_policy(tmp_path / "policies", "fixed", pick={"how": "fixed", "endpoint": "rack/two"})
    assert findings(tmp_path, default_policy="mine").problems == ()


def test_the_shipped_configuration_has_no_problems() -> None:
    settings = load(None, {"NOVITA_API_KEY": "set"})
    assert check_config(settings, Policies().current).problems == ()


def test_a_default_policy_that_is_not_there(tmp_path: Path) -> None:
    problems = findings(tmp_path, default_policy="balance").problems
    assert problems == ("default_policy: there is no policy `balance`; did you mean `balanced`?",)


def test_a_policy_of_claudes_names_that_is_not_there(tmp_path: Path) -> None:
    problems = findings(tmp_path, claude={"haiku": "flor", "opus": "nitro"}).problems
    assert problems == ("claude.haiku: there is no policy `flor`; did you mean `floor`?",)


def test_a_keys_policy_that_is_not_there(tmp_path: Path) -> None:
    keys = [
        {"tenant": "web", "key": "a-secret", "policy": "flor"},
        {"tenant": "ops", "key": "another", "policy": "floor"},
    ]
    problems = findings(tmp_path, keys=keys).problems
    assert problems == ("keys: tenant `web`: there is no policy `flor`; did you mean `floor`?",)


def test_a_rules_policy_and_key_that_are_not_there(tmp_path: Path) -> None:
    rules = [{"when": {"tools": True}, "policy": "exakto"}, {"when": {"key": "wep"}, "policy": "floor"}]
    found = findings(tmp_path, rules=rules, keys=[{"tenant": "web", "key": "a-secret"}])
    file = tmp_path / "gateway.yaml"
    lines = file.read_text().splitlines()
    first, second = lines.index("- policy: exakto") + 1, lines.index("- policy: floor") + 1
    assert found.problems == (f"{file}:{first}:3: rules[0]: there is no policy `exakto`; did you mean `exacto`?",)
    rule = f"{file}:{second}:3: rules[1]: no key of tenant `wep` but a virtual one; did you mean `web`?"
    assert rule in found.warnings  # it may be a virtual key, and must not keep a reload from being adopted


def test_a_group_without_limits_beside_others(tmp_path: Path) -> None:
    keys = [{"tenant": name, "key": f"sk-{name}", "group": name} for name in ("team", "taem")]
    found = findings(tmp_path, keys=keys, limits={"groups": {"team": {"usd_per_day": "$1"}}})
    line = "keys: tenant `taem`: `limits.groups` has no `taem`; did you mean `team`?"
    assert (found.problems, [one for one in found.warnings if "groups" in one]) == ((), [line])
    assert not any("groups" in one for one in findings(tmp_path, keys=keys).warnings)


@pytest.mark.parametrize(
    ("field", "policy"),
    [
        ("require.only", {"require": {"only": ["rack/on", "rack"]}}),
        ("require.ignore", {"require": {"ignore": ["rack/on"]}}),
        ("pick.order", {"pick": {"how": "order", "order": ["rack/two", "rack/on"]}}),
        ("pick.endpoint", {"pick": {"how": "fixed", "endpoint": "rack/on"}}),
    ],
)
def test_an_endpoint_that_is_not_there_is_named_with_the_policys_file(
    tmp_path: Path, field: str, policy: dict[str, Any]
) -> None:
    write_policy(tmp_path / "policies", "mine", **policy)
    (problem,) = findings(tmp_path).problems
    path = tmp_path / "policies" / "mine.yaml"
    assert problem == f"{path}: {field}: there is no endpoint or provider `rack/on`; did you mean `rack/one`?"


def test_a_shipped_policy_without_its_endpoint_is_no_mistake_of_the_user(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert found.problems == ()
    assert not [warning for warning in found.warnings if "pinned.yaml" in warning]


def test_a_shipped_policy_that_is_the_default_is_looked_at_all_the_same(tmp_path: Path) -> None:
    found = findings(tmp_path, default_policy="pinned")
    path = shipped_folder() / "pinned.yaml"
    assert found.problems == ()
    assert any(warning.startswith(f"{path}: pick.endpoint: there is no endpoint") for warning in found.warnings)
    assert f"{path}: no endpoint of deepseek/deepseek-v3.2 in use meets its pick.endpoint" in found.warnings


def test_a_policy_that_no_endpoint_in_use_meets_is_a_warning(tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", "strict", require={"zdr": True, "region": ["eu"]})
    path = tmp_path / "policies" / "strict.yaml"
    warning = f"{path}: no endpoint of deepseek/deepseek-v3.2 in use meets its require.region"
    assert warning in findings(tmp_path).warnings


def test_doubts_are_the_same_lines_about_these_policies_alone(tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", "mine", pick={"how": "fixed", "endpoint": "rack/on"})
    path = tmp_path / "policies" / "mine.yaml"
    found = findings(tmp_path)
    settings = load(tmp_path / "gateway.yaml", {})
    mine = {"mine": Policies(settings.policies).current["mine"]}
    lines = doubts(settings, mine)
    assert lines == [line for line in (*found.problems, *found.warnings) if line.startswith(f"{path}: ")]
    assert [line.removeprefix(f"{path}: ")[:22] for line in lines] == ["pick.endpoint: there i"]
    assert doubts(settings, {}) == []


def test_an_endpoint_in_use_whose_package_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.litellm_adapter.find_spec", lambda name: None)
    settings = load(None, {"NOVITA_API_KEY": "set"})
    (model,) = settings.models
    adapted = replace(model.endpoints[0], id="own", adapter="litellm", model="vertex_ai/m")

    def problems(endpoint: Endpoint) -> tuple[str, ...]:
        models = (replace(model, endpoints=(*model.endpoints, endpoint)),)
        return check_config(replace(settings, models=models), Policies().current).problems

    assert problems(replace(adapted, base_url=None)) == (), "without an address it is not in use"
    assert problems(adapted) == (
        "endpoint own: Vertex needs the package google-auth, which is not here; install llm-routing-gateway[vertex]",
    )


def test_a_model_without_an_endpoint_in_use_names_the_variables_that_would_help() -> None:
    (warning,) = check_config(load(None, {}), Policies().current).warnings
    assert warning.startswith("deepseek/deepseek-v3.2: no endpoint is in use; set at least one of NOVITA_API_KEY, ")
    assert "PARASAIL_API_KEY" not in warning  # a key alone would not do: it has no price


# --- policies and a second model --------------------------------------------------------------------------------


V4 = {
    "name": "V4",
    "context": 1_048_576,
    "endpoints": [
        {"id": "v4/one", "provider": "p", "base_url": "http://127.0.0.1:3", "model": "m", "status": "self_hosted"}
        | {"price": {"input": 0, "output": 0}, "quantization": "fp4", "data": {"zdr": "yes", "trains": "no"}}
    ],
}


def with_two_models(folder: Path, **settings: Any) -> ConfigFindings:
    """The shipped catalogue with one host in use, and a second model on one machine."""
    (folder / "policies").mkdir(exist_ok=True)
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({"models": {"deepseek/v4": V4}, "policies": str(folder / "policies"), **settings}))
    loaded = load(path, {"NOVITA_API_KEY": "set"})
    return check_config(loaded, Policies(loaded.policies).current)


def test_shipped_policies_say_nothing_about_models_that_they_are_not_for(tmp_path: Path) -> None:
    assert with_two_models(tmp_path) == ConfigFindings((), ())


def test_a_shipped_policy_that_the_configuration_names_is_for_every_model(tmp_path: Path) -> None:
    (warning,) = with_two_models(tmp_path, default_policy="pinned").warnings
    assert warning == f"{shipped_folder() / 'pinned.yaml'}: no endpoint of deepseek/v4 in use meets its pick.endpoint"


def test_a_policy_of_the_users_own_is_for_the_models_whose_endpoints_it_allows(tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", "mine", pick={"how": "fixed", "endpoint": "v4/one"})
    write_policy(tmp_path / "policies", "few", require={"only": ["novita"]})
    write_policy(tmp_path / "policies", "eight", require={"quantization": ["fp8"]})
    (warning,) = with_two_models(tmp_path).warnings
    assert warning.endswith("eight.yaml: no endpoint of deepseek/v4 in use meets its require.quantization")


def doubted(tmp_path: Path, *endpoints: Mapping[str, Any]) -> list[str]:
    """What is said of these endpoints, which differ from a sound one in some fields."""
    sound = {"provider": "p", "base_url": "http://127.0.0.1:1/v1", "model": "m", "price": {"input": 0.3, "output": 0.5}}
    given = [{"id": f"e{number}", **sound, **fields} for number, fields in enumerate(endpoints)]
    models = {"own/model": {"name": "Own", "context": 1000, "endpoints": given}}
    return [one for one in findings(tmp_path, catalogue=False, models=models).warnings if one.startswith("e")]


NIGHT = {"from_hour": 1, "to_hour": 2, "input": 0.1, "output": 0.5, "cached_input": 0.2}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"price": {"input": 2.7e-07, "output": 0.5}}, "price.input is 2.7e-07, the median is about 0.3"),
        ({"price": {"input": 0.3, "output": 4e-07}}, "price.output is 4e-07"),
        ({"price": {"input": 200, "output": 0.5}}, "price.input is 200"),
        ({"price": {"input": 0.3, "output": 0.5, "cached_input": 0.4}}, "cached_input is 0.4, above input"),
        ({"price": {"input": 0.3, "output": 0.5, "hours": [NIGHT]}}, "cached_input is 0.2"),
        ({"base_url": "http://127.0.0.1:1/v1/chat/completions"}, "base_url ends in `/chat/completions`"),
        ({"base_url": "http://127.0.0.1:1/v1/messages/"}, "base_url ends in `/messages`"),
    ],
)
def test_what_is_probably_a_mistake_is_a_warning(tmp_path: Path, fields: Mapping[str, Any], words: str) -> None:
    (warning,) = doubted(tmp_path, {}, {}, fields)
    assert warning.startswith("e2: ")
    assert words in warning


@pytest.mark.parametrize(
    ("price", "count"), [({"input": 2.7e-07, "output": 4e-07}, 2), ({"input": 0.02, "output": 400}, 0)]
)
def test_a_price_without_others_is_compared_with_what_makes_sense(tmp_path: Path, price: object, count: int) -> None:
    assert len(doubted(tmp_path, {"price": price})) == count


def test_usual_prices_are_no_doubt(tmp_path: Path) -> None:
    own = {"status": "self_hosted", "price": {"input": 0, "output": 0}}
    assert doubted(tmp_path, {}, {"price": {"input": 0.02, "output": 5, "cached_input": 0.02}}, own) == []


def test_the_shipped_catalogue_raises_no_doubt() -> None:
    assert list(unusual_prices(load(None, {}))) == []


@pytest.mark.parametrize("key", ["sk-a\nsk-b", "sk a", "schlüssel", "sk\x00"])
def test_a_hosts_key_that_no_header_can_carry_keeps_it_from_serving(key: str) -> None:
    settings = load(None, {"NOVITA_API_KEY": key})
    policies = Policies().current
    (problem,) = obstacles(settings, policies)
    assert "NOVITA_API_KEY must be printable ASCII without spaces or line breaks" in problem
    assert problem in check_config(settings, policies).problems
    assert key not in problem
