"""Instructions of a request and of an event, counted by valgrind: `make bench-instructions`.

    client's bytes ─> HotProtocol ─> handler ─> exchange ─> Connection ─> a host's bytes ─> client      in this process

No sockets, and a clock that moves between requests only. What is left is the gateway's own work, so the counts hardly
depend on what else the machine does. Each figure is the difference of two counts of one child process: start-up and
warm-up fall out. Metrics are left out, because they are written off the path. `bench.whole` counts with everything.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from bench import mock
from bench.load import MARK, OPENAI, OPENROUTER, Call
from bench.parts import KEY, Nothing
from bench.subjects import configuration
from bench.whole import COUNTED, VALGRIND, whole_process

STEP = 0.002  # seconds from one request to the next, as at 500 requests a second
BLOCK = 64 * 1024  # bytes of one read of a burst
AT_ONCE = 10  # events of one read of a host that writes fast
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """What is counted: `requests` and `events` of the first and of the second count, made at `path`."""

    about: str
    requests: tuple[int, int]
    events: tuple[int, int] = (0, 0)
    path: str = OPENAI

    @property
    def units(self) -> int:
        """By how many the second count has more."""
        events = self.events[1] - self.events[0]
        return self.requests[1] * events if events else self.requests[1] - self.requests[0]


CASES = {
    "whole": Case("request of 1 KB, not streamed", (200, 500)),
    "paced": Case("relayed event, one in a read", (20, 20), (100, 300)),
    "rewritten": Case("rewritten event (`/api/v1`), one in a read", (20, 20), (100, 300), OPENROUTER),
    "ten": Case("relayed event, ten in a read", (20, 20), (100, 300)),
    "burst": Case("relayed event, 64 KB in a read", (20, 20), (100, 300)),
}


class Clock:
    """Seconds, that pass when it is told so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


class Wire(asyncio.Transport):
    """The other side of a connection: calls `on_write` with what is written."""

    def __init__(self, on_write: Callable[[bytes], None]) -> None:
        super().__init__()
        self.write = on_write  # type: ignore[assignment,method-assign]

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Loop(asyncio.SelectorEventLoop):
    """Connects to nothing, at once. `waiting` gets a host's connection with each request."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: asyncio.Queue[Any] = asyncio.Queue()

    def time(self) -> float:
        return CLOCK()

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        protocol = protocol_factory()
        wire = Wire(lambda _: self.waiting.put_nowait(protocol))
        protocol.connection_made(wire)
        return wire, protocol


def event(content: str, finish: str | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-1234567890",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "deepseek-v3.2",
        "choices": [
            {"index": 0, "delta": {"content": content} if content else {}, "logprobs": None, "finish_reason": finish}
        ],
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def reads(case: str, events: int) -> list[bytes]:
    """What a host sends, read by read."""
    if case == "whole":
        return [mock.COMPLETION]
    usage = b'{"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":100,"total_tokens":400}}'
    tail = [event("", "stop"), b"data: " + usage + b"\n\n", b"data: [DONE]\n\n"]
    most = max(events, *CASES[case].events)  # in both counts, so that making them falls out
    text = [event(f" word{number % 97}") for number in range(most)][:events]
    if case == "burst":
        whole = b"".join(map(framed, text + tail))
        return [HEAD, *(whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK)), b"0\r\n\r\n"]
    size = AT_ONCE if case == "ten" else 1
    blocks = [b"".join(text[start : start + size]) for start in range(0, len(text), size)]
    return [HEAD, *map(framed, blocks + tail), b"0\r\n\r\n"]


def protocol_of(folder: Path) -> Any:
    """A client's connection to a whole worker."""
    from gateway import app
    from gateway.config import load
    from gateway.configuration import configured
    from gateway.server.frontend import FRONTEND
    from gateway.server.protocol import HotProtocol
    from gateway.state.folder import StateFolder
    from gateway.telemetry.metrics import prepare_folder

    for module in list(sys.modules.values()):
        if module.__name__.startswith("gateway.") and getattr(module, "monotonic", None) is time.monotonic:
            module.monotonic = CLOCK  # type: ignore[attr-defined]
    config, policies = folder / "gateway.yaml", folder / "policies"
    policies.mkdir()
    config.write_text(json.dumps({**configuration("http://127.0.0.1:1/v1"), "policies": str(policies)}))
    state = StateFolder(folder)
    for one in (state.ledger, state.metrics, state.store):
        one.mkdir(parents=True, exist_ok=True)
    prepare_folder(state.metrics)
    settings = load(config, {"GATEWAY_API_KEYS": f"bench:{KEY}"})
    worker = app.Worker(configured(replace(settings, state=folder)), state, "unix:///nowhere")
    worker.begin(asyncio.get_running_loop())
    worker.metrics.record = Nothing().record  # type: ignore[method-assign]
    app.tune_garbage_collection()
    server = uvicorn.Config(nothing, loop="none", http=HotProtocol, ws="none", lifespan="off", log_config=None)
    server.load()
    said = ServerState()
    said.default_headers = [(b"date", b"Sun, 29 Nov 2026 00:00:00 GMT")]
    return HotProtocol(config=server, server_state=said, app_state={FRONTEND: worker.live})


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The app behind the hot routes."""


async def serve(case: str, requests: int, events: int, folder: Path) -> None:
    """That many requests, one after the other, each with that many events."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    protocol, answer = protocol_of(folder), reads(case, events)
    written: asyncio.Queue[bytes] = asyncio.Queue()
    protocol.connection_made(Wire(written.put_nowait))
    before, _, after = Call(0, {}, 1024, stream=case != "whole").body().partition(MARK.encode())
    for number in range(requests):
        body = b"%b%016d%b" % (before, number, after)
        head = f"POST {CASES[case].path} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nauthorization: Bearer {KEY}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        CLOCK.now += STEP
        protocol.data_received(head.encode() + body)
        host = await loop.waiting.get()
        for data in answer:
            host.data_received(data)
            await asyncio.sleep(0)
        told = await written.get()
        assert told.startswith(b"HTTP/1.1 200"), told
        while not told.endswith((b"}", b"0\r\n\r\n")):
            told = await written.get()


def child(case: str, requests: int, events: int) -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        Loop().run_until_complete(serve(case, requests, events, Path(folder)))
        sys.stdout.flush()
        os._exit(0)  # what ending costs is nothing that a request costs


def instructions(case: str, requests: int, events: int) -> int:
    """Of a child process that serves so much."""
    child = [sys.executable, "-m", __spec__.name, "--child", case, str(requests), str(events)]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    run = subprocess.run([*VALGRIND, *child], capture_output=True, text=True, env=environ, check=False)
    if (found := COUNTED.search(run.stderr)) is None:
        raise SystemExit(run.stderr[-2000:])
    return int(found[1].replace(",", ""))


def in_process(name: str) -> float:
    """Instructions of one request or event."""
    case = CASES[name]
    first, second = (instructions(name, case.requests[turn], case.events[turn]) for turn in (0, 1))
    return (second - first) / case.units


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=(__doc__ or "").split(":")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--in-process", action="store_true", help="leave the whole process out, which takes minutes")
    parser.add_argument("--child", nargs=3, metavar=("CASE", "REQUESTS", "EVENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], int(given.child[1]), int(given.child[2]))
    cases = tuple(given.cases or CASES)
    if unknown := sorted({*cases} - {*CASES}):
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed: it counts the instructions (Debian: apt-get install valgrind)")
    whole = {} if given.in_process else dict(whole_process(cases))
    print("| instructions of one | in process | whole process |\n|---|---:|---:|")
    for name in cases:
        outer = f"{whole[name]:,.0f}" if name in whole else ""
        print(f"| {CASES[name].about} | {in_process(name):,.0f} | {outer} |", flush=True)


if __name__ == "__main__":
    main()
