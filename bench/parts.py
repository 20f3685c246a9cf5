"""Where the time of one exchange goes, without sockets: `python -m bench.parts`.

    request bytes ─> handler ─> a transport that answers at once ─> a client that takes it         in this process

Each feature is taken out in turn, and what the exchange then takes less is what the feature costs. CPU time, the best
of several runs, because other work on the machine only ever adds.
"""

import asyncio
import gc
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from bench import mock
from bench.load import MARK, Call
from bench.subjects import ENDPOINTS, configuration
from gateway.app import Worker
from gateway.config import load
from gateway.configuration import configured
from gateway.server.direct_sink import DirectSink
from gateway.state.folder import StateFolder
from gateway.telemetry.metrics import prepare_folder
from gateway.types.sink import Inbound

ROUNDS, REQUESTS = 15, 300
KEY = "sk-bench"
PLAIN = "name: plain\nabout: balanced, without affinity\naffinity: none\n"
HEADERS = [
    (b"host", b"127.0.0.1"),
    (b"content-type", b"application/json"),
    (b"authorization", b"Bearer " + KEY.encode()),
]


class Nothing:
    """Takes any call."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Answering:
    """In the place of each pool, and of its connections: gives the same answer to everything."""

    dropped = False

    def pool(self, origin: object) -> Any:
        return self

    def take(self) -> Any:
        return self

    def send(self, call: Any) -> None:
        self.receiver = call.receiver

    def answer(self) -> None:
        _, _, answer = mock.COMPLETION.partition(b"\r\n\r\n")
        self.receiver.on_response(200, [(b"content-type", b"application/json")])
        self.receiver.on_data(answer)
        self.receiver.on_complete()


CLIENT: Any = SimpleNamespace(
    transport=Nothing(),
    flow=SimpleNamespace(write_paused=False),
    server_state=SimpleNamespace(default_headers=[(b"server", b"uvicorn")]),
    answered=lambda _: None,
    heading=lambda _, headers: headers,
)


class Subject:
    """A worker with or without something, and requests to it."""

    def __init__(
        self, folder: Path, *, size: int = 1024, endpoints: int = ENDPOINTS, policy: str = "balanced", **off: bool
    ) -> None:
        (folder / "policies").mkdir(parents=True)
        (folder / "policies" / "plain.yaml").write_text(PLAIN)
        config = folder / "gateway.yaml"
        written = configuration("http://127.0.0.1:1/v1", endpoints, policy)
        config.write_text(json.dumps({**written, "policies": str(folder / "policies")}))
        settings = load(config, {} if off.get("key") else {"GATEWAY_API_KEYS": f"bench:{KEY}"})
        self.worker = Worker(configured(replace(settings, state=folder)), *_state(folder))
        self.host = Answering()
        self.worker.transport.pool = self.host.pool  # type: ignore[method-assign]
        self.worker.begin(asyncio.get_running_loop())
        self.chat = self.worker.live.current.hot[b"/v1/chat/completions"]
        self.before, _, self.after = Call(0, {}, size).body().partition(MARK.encode())
        self.asked = 0
        if off.get("ledger"):
            self.worker.ledger.append = Nothing().append  # type: ignore[method-assign]
        if off.get("metrics"):
            self.worker.metrics.record = Nothing().record  # type: ignore[method-assign]

    def ask(self) -> None:
        self.asked += 1
        body = b"%b%016d%b" % (self.before, self.asked, self.after)
        asked = dict(HEADERS)
        sink = DirectSink(CLIENT, self.chat, True, asked)
        self.chat(Inbound(asked, body, time.monotonic()), sink)
        self.host.answer()

    def run(self) -> float:
        """Microseconds a request."""
        started = time.process_time()
        for _ in range(REQUESTS):
            self.ask()
        self.worker.metrics.flush()
        return (time.process_time() - started) / REQUESTS * 1e6


def _state(folder: Path) -> tuple[StateFolder, str]:
    state = StateFolder(folder)
    for one in (state.ledger, state.metrics, state.store):
        one.mkdir(parents=True, exist_ok=True)
    prepare_folder(state.metrics)
    return state, "unix:///nowhere"


VARIANTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "without a key": {"key": True},
    "with 1 endpoint instead of 8": {"endpoints": 1},
    "without affinity": {"policy": "plain"},
    "without the ledger": {"ledger": True},
    "without metrics": {"metrics": True},
    "everything, 256 KB": {"size": 256 * 1024},
    "without affinity, 256 KB": {"size": 256 * 1024, "policy": "plain"},
}


async def main() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        subjects = {
            name: Subject(Path(folder) / str(number), **options)
            for number, (name, options) in enumerate(VARIANTS.items())
        }
        for subject in subjects.values():
            subject.run()
        gc.collect()
        gc.freeze()
        rounds = [{name: subject.run() for name, subject in subjects.items()} for _ in range(ROUNDS)]
    best = {name: min(one[name] for one in rounds) for name in subjects}
    for name, cost in best.items():
        whole = best["everything, 256 KB" if "256" in name else "everything"]
        print(f"{name:32} {cost:8.1f} us" + (f"   {whole - cost:+6.1f} saved" if name.startswith("with") else ""))


if __name__ == "__main__":
    asyncio.run(main())
