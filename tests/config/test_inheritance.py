"""What an endpoint takes over from its model and from the engine that serves it, and what nobody can know for it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import CATALOG, Settings, load, usable, why_unusable
from gateway.config.inheritance import ENGINES
from gateway.errors import ConfigError
from gateway.types import Dialect, Endpoint, Model, Reasoning

V32 = "deepseek/deepseek-v3.2"
FLASH = """
models:
  deepseek/deepseek-v4-flash:
    name: V4 Flash
    context: 1048576
    max_output: 393216
    quantization: fp8
    supports: [tools, json_object]
    dialect: {thinking: chat_template_kwargs.thinking, efforts: [low, high, max], drop: [seed]}
    reasoning: {default_enabled: true, history: preserved}
    endpoints:
"""


def settings(folder: Path, text: str) -> Settings:
    path = folder / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, {})


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings(folder, text)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def with_endpoints(*lines: str, model: str = FLASH) -> str:
    return model.lstrip("\n") + "".join(f"      - {line}\n" for line in lines)


def second(folder: Path, *lines: str, model: str = FLASH) -> Model:
    return settings(folder, with_endpoints(*lines, model=model)).models[1]


def host(name: str = "a", **fields: Any) -> str:
    usual = {"id": name, "provider": "p", "base_url": "http://h", "model": "m", "price": {"input": 1, "output": 2}}
    return yaml.safe_dump(usual | fields, default_flow_style=True, width=1000).strip()


# --- from the model


def test_an_endpoint_takes_over_what_it_does_not_say(tmp_path: Path) -> None:
    (one,) = second(tmp_path, host()).endpoints
    assert (one.context, one.max_output, one.quantization) == (1_048_576, 393_216, "fp8")
    assert one.supports == ("tools", "json_object")
    assert one.dialect == Dialect("chat_template_kwargs.thinking", efforts=("low", "high", "max"), drop=("seed",))


def test_what_it_says_wins_and_dialects_go_field_by_field(tmp_path: Path) -> None:
    own = {"context": 1000, "max_output": None, "quantization": "fp4", "supports": [], "dialect": {"drop": []}}
    (one,) = second(tmp_path, host(**own)).endpoints
    assert (one.context, one.max_output, one.quantization, one.supports) == (1000, None, "fp4", ())
    assert one.dialect == Dialect("chat_template_kwargs.thinking", efforts=("low", "high", "max"))


def test_nothing_goes_from_one_model_to_another(tmp_path: Path) -> None:
    small = "  me/small:\n    name: Small\n    context: 4096\n    endpoints:\n"
    text = with_endpoints(host(), model=FLASH) + small + f"      - {host('b')}\n"
    shipped, flash, plain = settings(tmp_path, text).models
    assert shipped == load(None, {}).models[0]
    assert (flash.reasoning, plain.reasoning) == (Reasoning(True, "preserved"), Reasoning(False, "interleaved"))
    (one,) = plain.endpoints
    assert (one.context, one.max_output, one.supports, one.dialect) == (4096, None, (), Dialect())


def test_a_model_needs_a_name_a_window_and_endpoints_alone(tmp_path: Path) -> None:
    model = second(tmp_path, host(), model="models:\n  a/b:\n    name: B\n    context: 1\n    endpoints:\n")
    assert (model.created, model.aliases) == (0, ())
    (missing,) = problems(tmp_path, with_endpoints(host(), model="models:\n  a/b:\n    name: B\n    endpoints:\n"))
    assert missing == "gateway.yaml:3:5: `context` is missing; add `context: ...`"


# --- from the engine


def test_the_catalogue_has_the_engines_that_the_code_knows() -> None:
    assert tuple(yaml.safe_load(CATALOG.read_text())["engines"]) == ENGINES


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_the_shipped_model_is_true_of_an_engine(engine: str) -> None:
    said = yaml.safe_load(CATALOG.read_text())["engines"][engine]
    assert not said.keys() & {"model", "context", "max_output", "quantization", "supports", "priors"}
    assert not said["dialect"].keys() & {"thinking", "thinking_default", "thinking_model", "effort", "efforts"}


@pytest.mark.parametrize(("engine", "field"), [("vllm", "reasoning"), ("sglang", "reasoning_content")])
def test_a_machine_of_ones_own_with_another_model(engine: str, field: str, tmp_path: Path) -> None:
    line = f"{{id: rack, provider: {engine}, base_url: http://h, model: deepseek-ai/DeepSeek-V4-Flash}}"
    model = second(tmp_path, line)
    (one,) = usable(model, {})
    assert (one.status, one.model, one.context) == ("self_hosted", "deepseek-ai/DeepSeek-V4-Flash", 1_048_576)
    assert (one.supports, one.quantization) == (("tools", "json_object"), "fp8")
    assert (one.dialect.thinking, one.dialect.reasoning_field) == ("chat_template_kwargs.thinking", field)
    assert one.priors.tools_ok is None


def test_a_model_says_once_what_its_engines_need(tmp_path: Path) -> None:
    engines = "    engines: {vllm: {model: served, quantization: fp4, dialect: {thinking: unknown}}}\n"
    text = FLASH.replace("    endpoints:\n", f"{engines}    endpoints:\n")
    lines = "{id: one, provider: vllm, base_url: http://h}", "{id: two, provider: vllm, base_url: http://i, model: own}"
    one, two, other = second(tmp_path, *lines, host(), model=text).endpoints
    assert [(e.model, e.quantization, e.dialect.thinking) for e in (one, two)] == [
        ("served", "fp4", "unknown"),
        ("own", "fp4", "unknown"),
    ]
    assert (other.model, other.quantization) == ("m", "fp8")


@pytest.mark.parametrize("catalogue", ["true", "false"])
def test_the_shipped_model_on_an_engine_is_one_line(catalogue: str, tmp_path: Path) -> None:
    text = (
        f"catalogue: {catalogue}\nmodels:\n  {V32}:\n    name: V3.2\n    context: 163840\n"
        "    endpoints: [{id: rack, provider: vllm, base_url: http://h}]\n"
    )
    (model,) = settings(tmp_path, text).models
    (one,) = usable(model, {})
    assert (one.model, one.quantization) == ("deepseek-ai/DeepSeek-V3.2", "fp8")
    assert (one.dialect.thinking, one.dialect.thinking_default) == ("chat_template_kwargs.thinking", "off")
    assert "tools" in one.supports
    assert len(model.endpoints) == (1 if catalogue == "false" else len(load(None, {}).models[0].endpoints) + 1)


# --- what nobody can know

RIGHT = (
    "add `dialect: {thinking: chat_template_kwargs.thinking}` with the key that the chat template reads, or `unknown`"
)
PLAIN = "models:\n  a/b:\n    name: B\n    context: 1000\n    {}\n    endpoints:\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_name_under_which_an_engine_serves_the_model(engine: str, tmp_path: Path) -> None:
    line = f"{{id: rack, provider: {engine}, base_url: http://h}}"
    text = with_endpoints(line, model=PLAIN.format("max_output: 10"))
    why = f"rack: `model` is missing; add `model: ...`, the name under which {engine} serves it"
    assert problems(tmp_path, text) == [f"gateway.yaml:7:9: {why}"]


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ("reasoning: {history: preserved}", "how vllm switches this model's thinking is missing"),
        (
            "dialect: {thinking: thinking.type}",
            "vllm has no switch `thinking.type`, which the endpoint inherits from the model",
        ),
    ],
)
def test_how_an_engine_switches_thinking(says: str, problem: str, tmp_path: Path) -> None:
    line = "{id: rack, provider: vllm, base_url: http://h, model: m}"
    text = with_endpoints(line, model=PLAIN.format(says))
    assert problems(tmp_path, text) == [f"gateway.yaml:7:9: rack: {problem}; {RIGHT}"]
    for switch in ("chat_template_kwargs.enable_thinking", "unknown", "thinking.type"):  # the operator's own word
        line = f"{{id: rack, provider: vllm, base_url: http://h, model: m, dialect: {{thinking: {switch}}}}}"
        (one,) = second(tmp_path, line, model=PLAIN.format(says)).endpoints
        assert one.dialect.thinking == switch


def test_a_model_without_thinking_needs_no_switch(tmp_path: Path) -> None:
    line = "{id: rack, provider: sglang, base_url: http://h, model: m}"
    model = second(tmp_path, line, model=PLAIN.format("supports: [tools]"))
    (one,) = usable(model, {})
    assert (one.dialect.thinking, one.supports, one.context) == ("unknown", ("tools",), 1000)


# --- mistakes


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ("dialect: {thinking: think}", "5:25: thinking: unknown value `think`; write one of chat_template_args.enable"),
        ("dialect: {efforts: [most]}", "5:25: efforts: unknown value `most`; "),
        ("dialect: {effort: everywhere}", "5:23: effort: unknown value `everywhere`; "),
        ("reasoning: {history: always}", "5:26: history: unknown value `always`; write one of disabled, interleaved, "),
        ("reasoning: {histori: preserved}", "5:17: unknown key `histori`; did you mean `history`?"),
        ("reasoning: {default_enabled: on}", "5:34: default_enabled: `on` is "),
        ("supports: [tool]", "5:16: supports: unknown value `tool`; did you mean `tools`?"),
        ("supports: tools", "5:15: supports: expected a list"),
        ("max_output: many", "5:17: max_output: `many` is text"),
        ("quantization: fp9", "5:19: quantization: unknown value `fp9`"),
        ("engines: [vllm]", "5:14: engines: expected a table; write it as in `{vllm: {model: ...}}`"),
        ("engines: {vlm: {model: m}}", "5:15: engines: unknown engine `vlm`; did you mean `vllm`?"),
        ("engines: {vllm: {modell: m}}", "5:22: unknown key `modell`; did you mean `model`?"),
        ("hugging_face: x", "5:5: unknown key `hugging_face`; "),
    ],
)
def test_a_mistake_in_a_model_is_reported_once_with_its_place(says: str, problem: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, with_endpoints(host(), host("b"), model=PLAIN.format(says)))
    assert found.startswith(f"gateway.yaml:{problem}")


def test_an_id_is_one_models_alone(tmp_path: Path) -> None:
    text = with_endpoints(host("novita/fp8"))
    (found,) = problems(tmp_path, text)
    line = text.splitlines().index(f"      - {host('novita/fp8')}") + 1
    assert found.startswith(f"gateway.yaml:{line}:")
    assert found.endswith(f": `novita/fp8` is an endpoint of {V32}; give this one its own id")


def test_the_id_of_a_retired_endpoint_is_free(tmp_path: Path) -> None:
    shipped = load(None, {}).models[0].endpoints
    retired: Endpoint = next(one for one in shipped if one.status == "retired")
    (one,) = second(tmp_path, host(retired.id)).endpoints
    assert why_unusable(one, {}) is None
