"""The documentation names every field, measure and variable that operators can write, with its true default."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from gateway.config import GatewayFile, Key, KeyEntry, load, wanted_variables, why_unusable
from gateway.config.inheritance import INHERITED
from gateway.config.key_limits import Bounds
from gateway.policy.limits import MEASURES
from gateway.policy.policies import Policies
from gateway.types import Endpoint, Model, ModelProfile, Policy
from tests.support.policy_fields import field_paths

DOCS = Path(__file__).parents[2] / "docs"
POLICIES = (DOCS / "policies.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")


OF_BOTH = {field.name for field in fields(Endpoint)}  # names of a model's fields that its endpoints have, too


def rows(text: str, heading: str) -> dict[str, str]:
    """Each name in a first cell -> second cell of every table below `heading`, up to the next one of its level."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (`[^|]+`) \|([^|]*)\|", section, re.MULTILINE)
    return {name: second for first, second in found for name in re.findall(r"`([^`]+)`", first)}


def paths(cls: Any, above: str = "") -> Iterator[tuple[str, "Field[Any]"]]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        path, hint = f"{above}{field.name}", hints[field.name]
        yield path, field
        inner = next((arm for arm in get_args(hint) if is_dataclass(arm)), hint)
        if get_origin(hint) is dict and inner is Bounds:
            continue  # its fields stand at `keys[].limits`
        if inner not in (Endpoint, Model, ModelProfile) and is_dataclass(inner):  # the profile is a file of its own
            mark = {tuple: "[].", dict: ".*."}.get(get_origin(hint), ".")
            yield from paths(KeyEntry if inner is Key else inner, path + mark)


def test_every_field_of_a_policy_is_documented() -> None:
    assert rows(POLICIES, "Fields").keys() == {path for path, _, _ in field_paths(Policy)} - {"require.limits"}


def test_every_measure_is_documented() -> None:
    assert tuple(rows(POLICIES, "Measures")) == MEASURES


def test_every_shipped_policy_is_documented() -> None:
    assert rows(POLICIES, "Shipped policies").keys() == Policies().current.keys()


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_lists_of_shipped_policies_are_whole(name: str) -> None:
    text = (DOCS.parent / name).read_text(encoding="utf-8")
    listed = re.split(r"\.\s", text.partition("Shipped: ")[2])[0]
    assert set(re.findall(r"[a-z][a-z0-9-]+", listed.replace("(default)", ""))) == set(Policies().current)


def test_every_field_of_gateway_yaml_is_documented() -> None:
    fields_of_the_file = {path for path, field in paths(GatewayFile) if field.compare}  # not where a rule stands
    without_subsections = CONFIGURATION.replace("\n### ", "\n## ")
    assert rows(without_subsections, "gateway.yaml").keys() == fields_of_the_file


def test_every_field_of_a_model_and_an_endpoint_is_documented() -> None:
    # The id is the key of the table, and `engines` are gone once the endpoints have taken them over.
    model = {path for path, _ in paths(Model)} - {"id"} | {"engines"}
    assert rows(CONFIGURATION, "Models and endpoints").keys() == model | {path for path, _ in paths(Endpoint)}


def test_every_variable_is_documented() -> None:
    own = {"GATEWAY_ADMIN_KEY", "GATEWAY_API_KEYS", "GATEWAY_REDIS_URL", "GATEWAY_STATE"}
    section = CONFIGURATION.split("\n## Environment\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE))
    assert documented == own | set(wanted_variables(load(None, {}).models))


def test_what_a_key_brings_into_use_is_documented_and_what_else_that_needs() -> None:
    models = load(None, {}).models
    environ = dict.fromkeys(wanted_variables(models), "set")
    cells = rows(CONFIGURATION, "Environment")
    for endpoint in (one for model in models for one in model.endpoints if one.api_key_env in environ):
        lacking = why_unusable(endpoint, environ)
        cell = cells[endpoint.api_key_env or ""].strip()
        assert cell.startswith(f"`{endpoint.id}` ({lacking}" if lacking else f"`{endpoint.id}`"), cell
        assert lacking or "(" not in cell, cell


@pytest.mark.parametrize(
    ("text", "heading", "documented"),
    [
        (POLICIES, "Fields", list(paths(Policy))),
        (CONFIGURATION, "gateway.yaml", list(paths(GatewayFile))),
        (CONFIGURATION, "Models and endpoints", [one for one in paths(Endpoint) if one[0] not in INHERITED]),
        (CONFIGURATION, "Models and endpoints", [one for one in paths(Model) if one[0] not in OF_BOTH]),
    ],
    ids=["policy", "gateway.yaml", "endpoint", "model"],
)
def test_documented_defaults_are_the_real_ones(
    text: str, heading: str, documented: list[tuple[str, "Field[Any]"]]
) -> None:
    cells = rows(text, heading)
    for path, field in documented:
        if path in cells and isinstance(field.default, str | int | float) and field.default != "":
            assert written(cells[path]) == pytest.approx(field.default), path
        elif path in cells and field.default is MISSING and field.default_factory is MISSING:
            assert cells[path].strip().startswith("required"), path


@pytest.mark.parametrize("name", INHERITED)
def test_what_an_endpoint_takes_over_from_its_model_is_documented(name: str) -> None:
    assert rows(CONFIGURATION, "Models and endpoints")[name].strip().startswith("the model's")


def written(cell: str) -> str | bool | float:
    """The value of a default as documentation writes it."""
    text = cell.strip().strip("`")
    match = re.fullmatch(r"\$?([0-9]+\.?[0-9]*)(ms|s|m|h|d|%|/h|MiB)?", text)
    if match is None:
        return {"true": True, "false": False}.get(text, text)
    scale = {"m": 60, "h": 3600, "d": 86_400, "ms": 0.001, "%": 0.01, "MiB": 1 << 20}
    return float(match[1]) * scale.get(match[2] or "", 1)
