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

from gateway.server.direct_sink import DirectSink

CHANGED = f"uvicorn {version('uvicorn')} differs: see gateway/server/uvicorn_internals.py: "

METHODS: dict[type, dict[str, str]] = {  # that we override or call, and their parameters
    HttpToolsProtocol: {
        "__init__": "config server_state app_state _loop",
        "connection_made": "transport",
        "connection_lost": "exc",
        "data_received": "data",
        "pause_writing": "",
        "resume_writing": "",
        "shutdown": "",
        "on_message_begin": "",
        "on_url": "url",
        "on_header": "name value",
        "on_headers_complete": "",
        "on_body": "body",
        "on_message_complete": "",
        "on_response_complete": "",
        "_start_asgi_task": "cycle app",
    },
    RequestResponseCycle: {
        "send": "message",
    },
    FlowControl: {
        "pause_reading": "",
        "resume_reading": "",
        "drain": "",
    },
    uvicorn.Server: {
        "__init__": "config",
        "run": "sockets",
        "startup": "sockets",
        "on_tick": "counter",
        "shutdown": "sockets",
        "capture_signals": "",
        "handle_exit": "sig frame",
    },
    Multiprocess: {
        "__init__": "config sockets",
        "init_processes": "",
        "handle_signals": "",
        "handle_hup": "",
        "keep_subprocess_alive": "",
        "terminate_all": "",
        "join_all": "",
    },
    Process: {
        "__init__": "config sockets",
        "start": "",
        "kill": "",
        "join": "",
    },
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
CALLS = {  # of its own methods, in their order
    (HttpToolsProtocol, "on_headers_complete"): ["_should_upgrade", "_start_asgi_task"],
    (uvicorn.Server, "main_loop"): ["on_tick", "on_tick"],
    (Multiprocess, "run"): ["init_processes", "handle_signals", "keep_subprocess_alive", "terminate_all", "join_all"],
}


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)
def test_methods_take_what_they_took(kind: type) -> None:
    for name, parameters in METHODS[kind].items():
        assert hasattr(kind, name), f"{CHANGED}{kind.__name__}.{name} is gone"
        found = [one for one in inspect.signature(getattr(kind, name)).parameters if one != "self"]
        assert found == parameters.split(), f"{CHANGED}{kind.__name__}.{name}"


@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_objects_have_the_attributes(kind: type) -> None:
    missing = ATTRIBUTES[kind] - attributes(kind)
    assert not missing, f"{CHANGED}{kind.__name__} has no {', '.join(sorted(missing))}"


@pytest.mark.parametrize(("kind", "name"), CALLS)
def test_methods_are_called_in_their_order(kind: type, name: str) -> None:
    assert own_calls(getattr(kind, name)) == CALLS[kind, name], f"{CHANGED}{kind.__name__}.{name}"


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
