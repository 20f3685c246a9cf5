"""One policy document: what it becomes, what is refused, and that editors are told the same."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.document import parse
from gateway.errors import ConfigError
from gateway.policy.describe import FIELDS, LIMITS
from gateway.policy.limits import MEASURES, UNITS, example, pattern
from gateway.policy.policies import shipped_folder
from gateway.policy.policy_document import json_schema, read_policy, schema_text
from gateway.types import (
    Attempts,
    CacheRule,
    Delay,
    Hedge,
    Limit,
    Measure,
    Pick,
    Policy,
    Require,
    Score,
    Timeouts,
)
from tests.support.policy_fields import field_paths

SHIPPED = sorted(shipped_folder().glob("*.yaml"))
EDITOR = jsonschema.Draft202012Validator(json_schema())


def policy(text: str, stem: str = "mine") -> Policy:
    return read_policy(parse(text, f"{stem}.yaml"), stem)


def problems(text: str, stem: str = "mine") -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        policy(text, stem)
    return caught.value.problems


def accepted_by_editor(text: str) -> bool:
    # Dates and numbers as text, as a YAML 1.2 editor sees what has a unit.
    return bool(EDITOR.is_valid(yaml.safe_load(text)))


def test_the_shortest_policy_is_a_name() -> None:
    assert policy("name: mine") == Policy("mine")


def test_every_field_is_read() -> None:
    text = """
    name: mine
    about: All of it.
    require:
      only: [novita, deepinfra/fp4]
      ignore: [deepinfra]
      quantization: [fp8, bf16]
      region: [eu]
      zdr: true
      no_training: true
      price.input: "<= $0.30"
      context: ">= 100000"
      ttft_p95: "<=4s"
    prefer: {uptime_5m: ">= 80%", throughput_p50: ">= 20.5", tools_ok: ">= 95%"}
    score: {price: list, value_of_time: $3/h, failure_cost: $0.01, quality_cost: $0.05}
    pick: {how: fixed, edge: 150%, explore: 0%, endpoint: novita/fp8}
    affinity: none
    attempts: {max: 1, within: 500ms}
    timeouts: {connect: 1s, first_token: 2s, first_token_per_10k: 0s, gap: 4s, total: 1h}
    keepalive: 5s
    hedge: {after: p97, max_share: 2%, max_spend: 0.5%}
    cache: {ttl: 7d}
    """
    assert policy(text) == Policy(
        name="mine",
        about="All of it.",
        require=Require(
            only=("novita", "deepinfra/fp4"),
            ignore=("deepinfra",),
            quantization=("fp8", "bf16"),
            region=("eu",),
            zdr=True,
            no_training=True,
            limits=(
                Limit("price.input", "<=", 0.3),
                Limit("context", ">=", 100_000),
                Limit("ttft_p95", "<=", 4.0),
            ),
        ),
        prefer=(
            Limit("uptime_5m", ">=", 0.8),
            Limit("throughput_p50", ">=", 20.5),
            Limit("tools_ok", ">=", 0.95),
        ),
        score=Score("list", 3.0, 0.01, 0.05),
        pick=Pick("fixed", 1.5, 0.0, "novita/fp8"),
        affinity="none",
        attempts=Attempts(1, 0.5),
        timeouts=Timeouts(1.0, 2.0, 0.0, 4.0, 3600.0),
        keepalive=5.0,
        hedge=Hedge(Delay(quantile=0.97), 0.02, 0.005),
        cache=CacheRule(604_800.0),
    )
    assert accepted_by_editor(text)


@pytest.mark.parametrize(
    ("text", "delay"),
    [("off", Delay()), ("800ms", Delay(seconds=0.8)), ("p50", Delay(quantile=0.5)), ("p99", Delay(quantile=0.99))],
)
def test_a_hedge_waits_for_a_time_or_a_quantile_or_for_ever(text: str, delay: Delay) -> None:
    written = f"{{name: mine, hedge: {{after: {text}}}}}"
    assert policy(written).hedge.after == delay
    assert accepted_by_editor(written)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: other", "mine.yaml:1:7: name: `other` is not the file's name; write `mine`, or rename the file"),
        ("about: x", "mine.yaml:1:1: `name` is missing"),
        ("name: mine\ntimeouts: {gap: 30}", "mine.yaml:2:17: gap: `30` needs a unit, as in `30s`"),
        ("name: mine\ntimeout: {gap: 30s}", "mine.yaml:2:1: unknown key `timeout`; did you mean `timeouts`?"),
        ("name: mine\ntimeouts: {gap: 0s}", "mine.yaml:2:17: timeouts: `gap: 0s` fails every request"),
        ("name: mine\naffinity: prefx", "mine.yaml:2:11: affinity: unknown value `prefx`; did you mean `prefix`?"),
        ("name: mine\nrequire: {ttft_95: '<= 4s'}", "mine.yaml:2:11: unknown key `ttft_95`; did you mean `ttft_p95`?"),
        ("name: mine\nrequire: {onyl: [x]}", "mine.yaml:2:11: unknown key `onyl`; did you mean `only`?"),
        ("name: mine\nrequire: {limits: []}", "mine.yaml:2:11: unknown key `limits`"),
        ("name: mine\nrequire: {quantization: [fp9]}", "mine.yaml:2:26: quantization: unknown value `fp9`; did you"),
        ("name: mine\nrequire: [zdr]", "mine.yaml:2:10: require: expected a table"),
        ("name: mine\nprefer: {zdr: true}", "mine.yaml:2:10: unknown measure `zdr`"),
        ("name: mine\nprefer: [x]", "mine.yaml:2:9: expected a table of limits"),
        (
            "name: mine\nprefer: {ttft_p95: 4s}",
            'ttft_p95: `4s` is not a comparison; write it as in `ttft_p95: "<= 30s"`',
        ),
        (
            "name: mine\nprefer: {ttft_p95: '<= 4'}",
            'ttft_p95: `4` has a wrong unit, or none; write it as in `ttft_p95: "<= 4s"`',
        ),
        (
            "name: mine\nprefer: {uptime_5m: '>= 0.8'}",
            'uptime_5m: `0.8` has a wrong unit, or none; write it as in `uptime_5m: ">= 80%"`',
        ),
        (
            "name: mine\nprefer: {price.input: '<= 0.3'}",
            'price.input: `0.3` has a wrong unit, or none; write it as in `price.input: "<= $0.3"`',
        ),
        ("name: mine\nprefer: {context: '>= 100k'}", "context: `100k` has a wrong unit, or none"),
        ("name: mine\nprefer: {context: ['>= 1']}", "context: expected a comparison"),
        ("name: mine\npick: {how: fixed}", "mine.yaml:2:7: pick: `how: fixed` and `endpoint` go together"),
        ("name: mine\npick: {endpoint: a}", "mine.yaml:2:7: pick: `how: fixed` and `endpoint` go together"),
        ("name: mine\npick: {how: order}", "mine.yaml:2:7: pick: `how: order` and `order` go together"),
        ("name: mine\npick: {order: [a]}", "mine.yaml:2:7: pick: `how: order` and `order` go together"),
        ("name: mine\nslo: {ttft_p95: 2s}", 'ttft_p95: `2s` is not a comparison; write it as in `ttft_p95: "<= 30s"`'),
        ("name: mine\npick: {explore: 101%}", "mine.yaml:2:17: pick: `explore` is a share of requests"),
        ("name: mine\nattempts: {max: 0}", "mine.yaml:2:11: attempts: no attempt could start"),
        ("name: mine\nhedge: {after: 3}", "mine.yaml:2:16: after: `3` is not a delay; write a time as in `800ms`"),
        ("name: mine\nhedge: {after: p100}", "mine.yaml:2:16: after: `p100` is not a delay"),
        ("name: mine\nhedge: {after: 0s}", "mine.yaml:2:16: after: `0s` is not a delay"),
        ("name: mine\nhedge: {after: [p97]}", "mine.yaml:2:16: after: this is not a delay"),
        ("name: mine\nhedge: {max_share: 101%}", "mine.yaml:2:20: hedge: `max_share` is a share;"),
        ("name: mine\nkeepalive: 0s", "mine.yaml:2:12: keepalive: `0s` is not an interval"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, problem: str) -> None:
    assert any(problem in found for found in problems(text)), problems(text)


@pytest.mark.parametrize("name", ["free", "batch", "thinking"])
def test_names_of_other_suffixes_are_reserved(name: str) -> None:
    assert problems(f"name: {name}", stem=name) == (
        f"{name}.yaml:1:7: name: `{name}` is a reserved model suffix; choose another name",
    )
    assert not accepted_by_editor(f"name: {name}")


@pytest.mark.parametrize("name", ["Mine", "a:b", "a b", "-a", "a" * 49])
def test_a_name_must_be_a_model_suffix(name: str) -> None:
    (problem,) = problems(f"name: '{name}'", stem=name)
    assert "is not a model suffix" in problem


def test_all_mistakes_are_reported_together() -> None:
    text = "name: other\nrequire: {price.input: 1}\nprefer: {nope: x}\ntimeouts: {gap: 0s, total: 0s}\n"
    assert len(problems(text)) == 5


@given(measure=st.sampled_from(MEASURES), operator=st.sampled_from(["<=", ">="]), value=st.integers(0, 10**6))
def test_limits_round_trip(measure: Measure, operator: str, value: int) -> None:
    unit = UNITS[measure]
    written = {"duration": f"{value}s", "share": f"{value}%", "usd": f"${value}"}[unit.name] if unit else f"{value}"

    (limit,) = policy(f'name: mine\nprefer: {{{measure}: "{operator} {written}"}}').prefer

    assert (limit.measure, limit.operator) == (measure, operator)
    assert limit.value == (value / 100 if unit and unit.name == "share" else value)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measures_own_example_is_valid(measure: Measure) -> None:
    text = f'name: mine\nrequire: {{{measure}: "{example(measure)}"}}'
    assert policy(text).require.limits
    assert accepted_by_editor(text)
    assert pattern(measure).startswith("^(<=|>=)")


def test_the_committed_schema_is_the_generated_one() -> None:
    committed = (shipped_folder() / "policy.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "`make docs` writes it anew"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_policy_suits_editors(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=./policy.schema.json\n")
    EDITOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "about: x",
        "{name: mine, nope: 1}",
        "{name: mine, timeouts: {gap: 30}}",
        "{name: mine, timeouts: {gap: 30x}}",
        "{name: mine, affinity: sticky}",
        "{name: mine, require: {quantization: [fp9]}}",
        "{name: mine, require: {limits: []}}",
        "{name: mine, prefer: {zdr: true}}",
        "{name: mine, prefer: {ttft_p95: '<= 4'}}",
        "{name: mine, attempts: {max: '4'}}",
        "{name: mine, hedge: {after: p100}}",
        "{name: mine, hedge: {after: true}}",
    ],
)
def test_editors_refuse_what_the_gateway_refuses(text: str) -> None:
    problems(text)
    assert not accepted_by_editor(text)


def test_every_field_is_described() -> None:
    paths = {path for path, _, _ in field_paths()} - {"require.limits"}
    assert set(FIELDS) == paths
    assert set(LIMITS) == set(MEASURES)


def test_descriptions_reach_the_editor() -> None:
    def described(schema: dict[str, Any]) -> int:
        return sum(("description" in value) + described(value) for value in schema.get("properties", {}).values())

    assert described(json_schema()) == len(FIELDS) + 3 * len(LIMITS)
