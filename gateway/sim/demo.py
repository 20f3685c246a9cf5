"""`gateway demo`: a gateway in front of simulated hosts, all on this machine, with nothing to configure.

    hosts process ──addresses──> gateway.yaml ──> gateway process ──ready──> a question, twice ──> runs until Ctrl-C

All its files are in one temporary folder, which it removes. Its processes end with it, even when it is killed.
"""

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import NoReturn

import click
import orjson
from rich.console import Console

from gateway.errors import GatewayError
from gateway.sim.demofleet import FLEET, gateway_config, seed_policies
from gateway.sim.policy_news import PolicyNews
from gateway.sim.question import AnswerTiming, ask
from gateway.sim.traffic import Summary, Traffic
from gateway.sim.workload import read_trace
from gateway.state.parent_death import end_with_parent

QUESTION = "What does an LLM gateway do? Answer in about 40 words."
READY_WITHIN = 30.0  # seconds; a start takes one, and several on a busy machine
ENDED_WITHIN = 3.0  # seconds before the next stronger signal
COUNTED_EVERY = 10.0  # seconds between two lines about traffic
POLL = 0.5  # seconds
LOG_TAIL = 3  # lines
LOOKUPS = 5  # of the response cache, for the second answer
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WIDTH = 80
INDENT = "   "
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
LISTENING = re.compile(r"listening on http://[\d.]+:(\d+)")


class DemoFailed(GatewayError):
    """The demo cannot continue, with a message for the user."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the demo, and its log."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def failure(self, what: str) -> DemoFailed:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return DemoFailed(f"the {self.name} {what}: {' | '.join(lines[-LOG_TAIL:]) or 'its log is empty'}")


class Demo:
    """One run on this machine, from the main thread, with whose end its children end.

    `host` is 127.0.0.1 or 0.0.0.0; port 0 takes any free one. `redis` is the URL of the store, None an embedded one.
    """

    def __init__(self, host: str, port: int, host_speed: float, redis: str | None = None) -> None:
        self._host = host
        self._port = port
        self._host_speed = host_speed
        self._environ = {} if redis is None else {"GATEWAY_REDIS_URL": redis}
        self._console = Console(width=WIDTH, highlight=False, markup=False, soft_wrap=True)

    def __repr__(self) -> str:
        return f"Demo({self._url})"

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def run(self, once: bool, traffic: bool) -> int:
        """Returns the exit code: 0 when both answers came and, without `once`, a signal ended the demo; 1 otherwise."""
        for number in SIGNALS:
            signal.signal(number, _interrupt)
        try:
            with ExitStack() as stack:
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="gateway-demo-")))
                children = self._start(stack, folder)
                stack.callback(_ignore_signals)  # runs first: nothing may interrupt the shutdown
                self._request_twice()
                if not once:
                    self._print_hints(folder, traffic)
                    asyncio.run(self._run_until_signal(children, traffic))
        except KeyboardInterrupt:
            pass
        except GatewayError as error:
            Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"gateway demo: {error}")
            return 1
        with suppress(OSError):  # the terminal may be closed
            click.echo("\nEnded, files removed.")  # rich would repeat the output that a signal interrupted
        return 0

    def _start(self, stack: ExitStack, folder: Path) -> list[Child]:
        self._print(f"Starting {len(FLEET)} simulated hosts and a gateway. No model runs: the hosts invent")
        self._print("their answers. Their prices and speeds are public measurements of real hosts.")
        ports, config, policies = folder / "ports.json", folder / "gateway.yaml", folder / "policies"
        speed = str(self._host_speed)
        module = ["gateway.sim.host", "--ports-file", str(ports), "--speed", speed]
        hosts = stack.enter_context(_running("simulated hosts", module, folder / "hosts.log"))
        _await(ports.exists, hosts)
        names = [] if self._host == "127.0.0.1" else ["*"]  # a simulation has nothing that a web page could steal
        config.write_text(gateway_config(orjson.loads(ports.read_bytes()), names), encoding="utf-8")
        seed_policies(policies)
        module = ["gateway", "serve", "--config", str(config), "--policies", str(policies), "--no-auth"]
        module += ["--state", str(folder / "state"), "--host", self._host, "--port", str(self._port)]
        gateway = stack.enter_context(_running("gateway", module, folder / "gateway.log", self._environ))
        stack.callback(hosts.process.terminate)  # first, so that the gateway need not wait for answers
        _await(lambda: self._listens(gateway.log), gateway)
        _await(self._ready, gateway)
        return [hosts, gateway]

    def _listens(self, log: Path) -> bool:
        """Whether the gateway listens. Its log has the port: the kernel picks a free one when a server binds it."""
        line = LISTENING.search(log.read_text(errors="replace"))
        if line:
            self._port = int(line[1])
        return line is not None

    def _ready(self) -> bool:
        """Whether requests would be served, and answers cached."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=READY_WITHIN)
        try:
            connection.request("GET", "/health/ready")
            response = connection.getresponse()
            return response.status == 200 and orjson.loads(response.read())["store"] == "up"
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _request_twice(self) -> None:
        self._print(f"\nQ  {QUESTION}\n\nA  (invented) ", end="")
        reply = ask(self._port, QUESTION, self._stream())
        self._print(f"\n\n{INDENT}{_served(reply)}", style="green")
        self._print("\nQ  The same question again.")
        cached = self._cached_answer()
        self._print(f"\nA  The same answer, from the response cache: {cached.seconds * 1000:.0f} ms, ${cached.usd:g}")

    def _cached_answer(self) -> AnswerTiming:
        """The answer from the response cache. A lookup that takes over 25 ms is a miss: on a busy machine, retries
        help."""
        for _ in range(LOOKUPS):
            cached = ask(self._port, QUESTION, lambda _: None)
            if cached.cache == "hit":
                return cached
        raise DemoFailed(f"the second answer did not come from the response cache, but from {cached.endpoint}")

    def _stream(self) -> Callable[[str], None]:
        """Prints pieces of text as they arrive; breaks the line before a word that would not fit."""
        column = len(INDENT) + len("(invented) ")

        def show(piece: str) -> None:
            nonlocal column
            if column + len(piece) > WIDTH and piece.startswith(" "):
                self._print(f"\n{INDENT}", end="")
                piece, column = piece[1:], len(INDENT)
            self._print(piece, end="")
            column += len(piece)

        return show

    def _print_hints(self, folder: Path, traffic: bool) -> None:
        self._print("\nSend a request", style="bold")
        self._print(CURL.format(url=self._url))
        self._print("\nThe same with openai-python", style="bold")
        self._print(PYTHON.format(url=self._url))
        self._print("\nWhere would a request go, and why?", style="bold")
        self._print(f"{_command()} explain \\\n  --url {self._url} --model deepseek-v3.2:nitro")
        self._print("\nChange a policy in another terminal: it applies as soon as it is saved", style="bold")
        self._print(f"$EDITOR {shlex.quote(str(folder / 'policies' / 'balanced.yaml'))}")
        self._print("\nWhere to look", style="bold")
        self._print(f"{self._url}/               the model page: hosts, prices, requests")
        self._print(f"{self._url}/metrics        for Prometheus")
        self._print(f"{self._url}/health/ready   for load balancers")
        self._print(f"tail -f {shlex.quote(str(folder / 'gateway.log'))}")
        self._print("\nThe same with Prometheus and Grafana, in place of this demo", style="bold")
        self._print("docker compose --profile demo up --build     then http://127.0.0.1:3000")
        if not traffic:
            self._print("\nThe same with traffic, so that the page has figures", style="bold")
            self._print(f"{_command()} demo --traffic")
        self._print("\nCtrl-C ends the demo and removes its files.")
        if traffic:
            self._print(f"\nSample traffic flows, and is counted every {COUNTED_EVERY:.0f} s:")

    async def _run_until_signal(self, children: Sequence[Child], traffic: bool) -> None:
        """Runs until a signal. Raises DemoFailed when a child ends before."""
        stop = asyncio.Event()
        news = PolicyNews(children[-1].log)
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        source = Traffic(f"{self._url}/v1", None, read_trace())
        flow = [asyncio.create_task(source.run()), asyncio.create_task(self._count(source.summary))] if traffic else []
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL)
            for child in children:
                if not stop.is_set() and child.process.poll() is not None:
                    raise child.failure("ended")
            for line in news.read():
                self._print(line)
            for task in flow:
                if task.done():
                    task.result()

    async def _count(self, summary: Summary) -> None:
        for _ in range(round(COUNTED_EVERY / POLL)):  # the first line comes with the first answer
            if summary.ok:
                break
            await asyncio.sleep(POLL)
        while True:
            self._print(
                f"{time.strftime('%H:%M:%S')}  {summary.sent} sent, {summary.ok} answered, "
                f"{summary.cache_hits} from the cache, {summary.failed} failed, {summary.in_flight} in flight"
            )
            await asyncio.sleep(COUNTED_EVERY)

    def _print(self, text: str, style: str | None = None, end: str = "\n") -> None:
        self._console.print(text, style=style, end=end)


CURL = """\
curl -N {url}/v1/chat/completions \\
  -H 'content-type: application/json' \\
  -d '{{"model": "deepseek-v3.2", "stream": true,
       "messages": [{{"role": "user", "content": "Hello"}}]}}'"""

PYTHON = """\
from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="none")
print(client.chat.completions.create(model="deepseek-v3.2",
    messages=[{{"role": "user", "content": "Hello"}}]).choices[0].message.content)"""


@contextmanager
def _running(name: str, module: Sequence[str], log: Path, added: Mapping[str, str] = NO_VARIABLES) -> Iterator[Child]:
    """Runs a Python module as a process in its own session, so that Ctrl-C reaches only the demo, which ends it in
    order. It has the environment without the user's own gateway's variables, and with `added`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**own, **added},
            start_new_session=True,
            preexec_fn=end_with_parent(os.getpid()),
        )
    try:
        yield Child(name, process, log)
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Sends SIGTERM, with which the gateway drains; then SIGINT, with which it does not; then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_WITHIN)
            return


def _await(ready: Callable[[], bool], child: Child) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not ready():
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise child.failure("did not start")
        time.sleep(0.02)


def _served(reply: AnswerTiming) -> str:
    return (
        f"{reply.endpoint}: TTFT {reply.ttft:.2f} s, "
        f"{reply.prompt_tokens} tokens in, {reply.output_tokens} out, ${reply.usd:.6f}"
    )


def _command() -> str:
    """How this user starts `gateway`: by its name, or by its path if it is not on the PATH."""
    own = Path(sys.executable).with_name("gateway")
    return "gateway" if shutil.which("gateway") or not own.exists() else shlex.quote(str(own))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
