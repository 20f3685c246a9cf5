"""What a library does not document is used in one module of ours: the one to look at when the library changes."""

import ast
import inspect

import pytest

from tests.source import Module, modules

ADAPTERS = {
    "uvicorn": "gateway.server.uvicorn_internals",
    "prometheus_client": "gateway.telemetry.prometheus_internals",
}
DOCUMENTED = {"uvicorn", "prometheus_client", "prometheus_client.exposition", "prometheus_client.registry"}
PRIVATE = {"_start_asgi_task", "_accumulate_metrics", "_multiprocess_mode", "_upper_bounds", "_buckets", "ValueClass"}


@pytest.mark.parametrize(("library", "adapter"), ADAPTERS.items())
def test_only_the_adapters_know_the_insides_of_a_library(library: str, adapter: str) -> None:
    found = {one.name: undocumented(one, library) for one in modules().values() if one.name != adapter}
    assert {name: used for name, used in found.items() if used} == {}, f"belongs in {adapter}"


def test_only_the_adapters_use_private_names() -> None:
    others = [one for one in modules().values() if one.name not in ADAPTERS.values()]
    used = [(one.name, node.attr) for one in others for node in ast.walk(one.tree) if isinstance(node, ast.Attribute)]
    assert [(name, attribute) for name, attribute in used if attribute in PRIVATE] == []


@pytest.mark.parametrize(
    ("library", "line"),
    [
        ("uvicorn", "from uvicorn.server import Server"),
        ("uvicorn", "import uvicorn.config"),
        ("uvicorn", "from uvicorn import config"),
        ("prometheus_client", "from prometheus_client import values as library"),
        ("prometheus_client", "from prometheus_client.mmap_dict import MmapedDict"),
    ],
)
def test_what_the_rule_finds(library: str, line: str) -> None:
    assert undocumented(Module("x", line, ast.parse(line)), library)


@pytest.mark.parametrize(
    ("library", "line"), [("uvicorn", "import uvicorn"), ("prometheus_client", "from prometheus_client import Counter")]
)
def test_what_the_rule_allows(library: str, line: str) -> None:
    assert undocumented(Module("x", line, ast.parse(line)), library) == []


def undocumented(module: Module, library: str) -> list[str]:
    """The modules of a library that are imported, but for the documented ones."""
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{one.name}" for one in node.names if is_module(node.module, one.name)]
    return [name for name in found if name.split(".")[0] == library and name not in DOCUMENTED]


def is_module(package: str, name: str) -> bool:
    return package in ADAPTERS and inspect.ismodule(getattr(__import__(package), name, None))
