"""What uvicorn does inside, as `gateway/server/uvicorn_internals.py` relies on it.

Where one of these fails after an update of the library, that file is to be changed, and what builds on it.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from importlib.metadata import version

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from gateway.server.direct import DirectSink
from tests.source import Module, modules

ADAPTERS = {
    "uvicorn": "gateway.server.uvicorn_internals",
    "prometheus_client": "gateway.telemetry.prometheus_internals",
}
DOCUMENTED = {"uvicorn", "prometheus_client", "prometheus_client.exposition", "prometheus_client.registry"}
PRIVATE = {"_start_asgi_task", "_accumulate_metrics", "_multiprocess_mode", "_upper_bounds", "_buckets", "ValueClass"}
CHANGED = f"uvicorn {version('uvicorn')} differs: see gateway/server/uvicorn_internals.py: "

METHODS: dict[Callable[..., object], list[str]] = {  # with the parameters that we override or give
    HttpToolsProtocol.__init__: ["config", "server_state", "app_state", "_loop"],
    HttpToolsProtocol.connection_made: ["transport"],
    HttpToolsProtocol.connection_lost: ["exc"],
    HttpToolsProtocol.data_received: ["data"],
    HttpToolsProtocol.pause_writing: [],
    HttpToolsProtocol.resume_writing: [],
    HttpToolsProtocol.shutdown: [],
    HttpToolsProtocol.on_message_begin: [],
    HttpToolsProtocol.on_url: ["url"],
    HttpToolsProtocol.on_header: ["name", "value"],
    HttpToolsProtocol.on_headers_complete: [],
    HttpToolsProtocol.on_body: ["body"],
    HttpToolsProtocol.on_message_complete: [],
    HttpToolsProtocol.on_response_complete: [],
    HttpToolsProtocol._start_asgi_task: ["cycle", "app"],
    RequestResponseCycle.send: ["message"],
    FlowControl.pause_reading: [],
    FlowControl.resume_reading: [],
    FlowControl.drain: [],
    uvicorn.Server.__init__: ["config"],
    uvicorn.Server.run: ["sockets"],
    uvicorn.Server.startup: ["sockets"],
    uvicorn.Server.on_tick: ["counter"],
    uvicorn.Server.shutdown: ["sockets"],
    uvicorn.Server.capture_signals: [],
    uvicorn.Server.handle_exit: ["sig", "frame"],
    Multiprocess.__init__: ["config", "sockets"],
    Multiprocess.init_processes: [],
    Multiprocess.handle_signals: [],
    Multiprocess.handle_hup: [],
    Multiprocess.keep_subprocess_alive: [],
    Multiprocess.terminate_all: [],
    Multiprocess.join_all: [],
    Process.__init__: ["config", "sockets"],
    Process.start: [],
    Process.kill: [],
    Process.join: [],
}
ATTRIBUTES: dict[type, set[str]] = {  # that we read or set
    HttpToolsProtocol: {
        *("app_state", "transport", "flow", "parser", "server_state", "pipeline"),
        *("url", "headers", "expect_100_continue", "cycle"),
    },
    RequestResponseCycle: {
        *("scope", "transport", "flow", "default_headers", "message_event", "on_response", "disconnected"),
        *("keep_alive", "waiting_for_100_continue", "response_started", "response_complete"),
    },
    FlowControl: {"read_paused", "write_paused"},
    ServerState: {"total_requests", "default_headers"},
    uvicorn.Server: {"started", "force_exit"},
    Multiprocess: {"config", "sockets", "processes", "should_exit", "signal_queue"},
    Process: {"process", "parent_conn"},
}
CALLS: dict[Callable[..., object], list[str]] = {  # of its own methods, in their order
    HttpToolsProtocol.on_headers_complete: ["_should_upgrade", "_start_asgi_task"],
    uvicorn.Server.main_loop: ["on_tick", "on_tick"],
    Multiprocess.run: ["init_processes", "handle_signals", "keep_subprocess_alive", "terminate_all", "join_all"],
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
def test_methods_take_what_they_took(method: Callable[..., object]) -> None:
    found = [name for name in inspect.signature(method).parameters if name != "self"]
    assert found == METHODS[method], f"{CHANGED}{method.__qualname__}"


@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_objects_have_the_attributes(kind: type) -> None:
    missing = ATTRIBUTES[kind] - attributes(kind)
    assert not missing, f"{CHANGED}{kind.__name__} has no {', '.join(sorted(missing))}"


@pytest.mark.parametrize("method", CALLS, ids=lambda method: method.__qualname__)
def test_methods_are_called_in_their_order(method: Callable[..., object]) -> None:
    assert own_calls(method) == CALLS[method], f"{CHANGED}{method.__qualname__}"


def test_a_sink_stands_in_for_all_that_uvicorn_asks_of_a_cycle() -> None:
    """Where no ASGI request is being read: `body` and `more_body` belong to one."""
    asked = set(re.findall(r"self\.cycle\.(\w+)", inspect.getsource(HttpToolsProtocol))) - {"body", "more_body"}
    missing = asked - set(dir(DirectSink))
    assert not missing, f"{CHANGED}a connection asks its cycle for {', '.join(sorted(missing))}: DirectSink has none"


def test_status_lines_are_whole_lines() -> None:
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n", f"{CHANGED}STATUS_LINE"
    assert STATUS_LINE.keys() >= set(range(200, 600)), f"{CHANGED}STATUS_LINE"


def test_a_parser_is_made_as_for_a_new_connection() -> None:
    made = re.findall(r"self\.parser\b.*", inspect.getsource(HttpToolsProtocol.__init__))
    assert made == [
        "self.parser = httptools.HttpRequestParser(self)",
        "self.parser.set_dangerous_leniencies(lenient_data_after_close=True)",
    ], f"{CHANGED}HttpToolsProtocol.__init__ makes its parser in another way"


def test_the_default_headers_are_made_anew_with_the_date() -> None:
    """`DirectSink` takes a list that is another object for another second's."""
    source = inspect.getsource(uvicorn.Server.on_tick)
    assert "counter % 10 == 0" in source, f"{CHANGED}Server.on_tick"
    assert "self.server_state.default_headers = date_header + " in source, f"{CHANGED}Server.on_tick"


@pytest.mark.parametrize("module", [pytest.param(one, id=one.name) for one in modules().values()])
def test_only_the_adapters_know_the_insides_of_a_library(module: Module) -> None:
    for library, adapter in ADAPTERS.items():
        if module.name != adapter:
            assert undocumented(module, library) == [], f"belongs in {adapter}"
    if module.name not in ADAPTERS.values():
        named = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
        assert named & PRIVATE == set()


@pytest.mark.parametrize(
    "line",
    [
        "from uvicorn.server import Server",
        "import uvicorn.config",
        "from uvicorn import config",
        "from prometheus_client import values as library",
        "from prometheus_client.mmap_dict import MmapedDict",
    ],
)
def test_what_the_rule_finds(line: str) -> None:
    assert undocumented(Module("x", line, ast.parse(line)), line.replace("import ", "from ").split()[1].split(".")[0])


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


def attributes(kind: type) -> set[str]:
    """What instances have: what their class has, and what its methods set."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_set(node)}
    return found | set(dir(kind))


def is_set(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def own_calls(method: Callable[..., object]) -> list[str]:
    """The methods of `self` that a method calls, as they stand in it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    own = [one for one in calls if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "self"]
    return [one.attr for one in sorted(own, key=lambda one: (one.lineno, one.col_offset))]
