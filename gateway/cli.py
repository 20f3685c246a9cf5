"""The command line. Exit codes: 0 success, 1 negative result, 2 usage or configuration error, 130 interrupted.

Imports that only one command needs are inside that command, so that the server starts without the table library.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import click

from gateway import __version__
from gateway.compiled import BUILD
from gateway.config import Settings, load
from gateway.document import quantity
from gateway.errors import ConfigError
from gateway.keys.key_desk import Choices
from gateway.keys.keys_command import keys
from gateway.telemetry.ledger_group import ledger
from gateway.types.units import SHARE

LOG_FORMATS = ("text", "json")
LOCAL_OR_ALL = ("127.0.0.1", "0.0.0.0")
PATH = click.Path(path_type=Path)
PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(1)
config_option = click.option("--config", type=PATH, help="gateway.yaml; default: ./gateway.yaml if it exists.")
policies_option = click.option("--policies", type=PATH, help="Folder of policies, which override the shipped ones.")


class Share(click.ParamType[float]):
    """A share in percent, as in `30%`, converted to a fraction: 0.3."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        share = quantity(value, SHARE) if isinstance(value, str) else float(value)
        if share is None or not 0 < share <= 1:
            self.fail(f"`{value}` is not a share; write it as in `30%`", param, ctx)
        return share


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. Configuration errors are printed one per line, without a traceback."""
    try:
        sys.exit(app(arguments, prog_name="gateway", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        _print_problems(error)
        sys.exit(2)
    except click.Abort:  # Ctrl-C
        sys.exit(130)


@click.group(context_settings={"show_default": True})
@click.version_option(__version__, message=f"gateway %(version)s ({BUILD})")
@click.pass_context
def app(context: click.Context) -> None:
    """Routes DeepSeek-V3.2 requests across many hosts by measured cost and latency."""
    context.obj = _choices


def _choices(settings: Settings, policies: Path | None) -> Choices:
    """What a virtual key may name. Raises ConfigError for an invalid policy."""
    from gateway.configuration import choices_of
    from gateway.policy.policies import Policies

    return choices_of(settings, Policies(policies).current)


@app.command()
@config_option
@policies_option
@click.option("--redis", metavar="URL", help="URL of the store; default: GATEWAY_REDIS_URL, else embedded.")
@click.option(
    "--state", type=PATH, help="State folder; default: GATEWAY_STATE, else ~/.local/state/llm-routing-gateway."
)
@click.option("--workers", type=COUNT, metavar="N", help="Worker processes; default 1.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; default 127.0.0.1.")
@click.option("--port", type=PORT, metavar="N", help="Port to listen on; default 8080; 0 picks a free one.")
@click.option(
    "--no-auth",
    is_flag=True,
    help="Listen beyond loopback without keys: anyone who can reach it spends your money.",
)
@click.option("--log-format", type=click.Choice(LOG_FORMATS), help="Format of the log; default text.")
@click.option("--record", type=PATH, metavar="FILE", help="Record a trace of lengths, times and salted prefix hashes.")
def serve(config: Path | None, redis: str | None, no_auth: bool, record: Path | None, **given: Any) -> None:
    """Serve with every host whose API key is set in the environment.

    Example: NOVITA_API_KEY=... gateway serve --port 8080
    """
    from gateway.config_source import ConfigSource
    from gateway.server.supervisor import serve as run
    from gateway.telemetry.trace_recorder import begin

    flags = {name: value for name, value in given.items() if value is not None}
    source = ConfigSource(_config_path(config), redis, flags, no_auth)
    if redis and "@" in redis and "${" not in redis:
        _warn("anyone on this machine can read the password in --redis; write '${REDIS_PASSWORD}' in its place")
    configuration = source.first()
    if record:
        recording = begin(record)
        source = replace(source, given={**flags, "record": recording})
        configuration = replace(configuration, settings=replace(configuration.settings, record=recording))
    run(source, configuration)


@app.command()
@click.option("--once", is_flag=True, help="Exit after two sample requests.")
@click.option("--traffic", is_flag=True, help="Send sample traffic until Ctrl-C.")
@click.option(
    "--host",
    type=click.Choice(LOCAL_OR_ALL),
    default="127.0.0.1",
    help="Address to listen on; 0.0.0.0 in a container: anyone who can reach it may use the simulation.",
)
@click.option("--port", type=PORT, metavar="N", default=8080, help="Port to listen on; 0 picks a free one.")
@click.option("--redis", metavar="URL", help="URL of the store; default: embedded.")
@click.option(
    "--host-speed",
    type=click.FloatRange(0),
    metavar="X",
    default=1.0,
    help="Speed of the simulated hosts relative to real ones; 0: they answer at once.",
)
def demo(once: bool, traffic: bool, host: str, port: int, redis: str | None, host_speed: float) -> int:
    """Try it: a gateway with simulated hosts; no key needed.

    Everything stays on this machine. The hosts invent their answers.

    Example: gateway demo --traffic
    """
    from gateway.server.supervisor import listening
    from gateway.sim.demo import Demo

    if once and traffic:
        raise click.UsageError("--once and --traffic exclude each other; choose one of the two")
    with listening(host, port):  # reports a port in use before anything is started
        pass
    return Demo(host, port, host_speed, redis).run(once, traffic)


@app.command()
@config_option
@policies_option
def check(config: Path | None, policies: Path | None) -> int:
    """Check gateway.yaml, the catalogue and the policies.

    No request is sent.

    Example: gateway check --config gateway.yaml --policies policies/
    """
    from gateway.report import checked

    try:
        settings = _priced(_settings(config))
        found = checked(replace(settings, policies=policies) if policies else settings)
    except ConfigError as error:
        _print_problems(error)
        return 1
    click.echo(found.text, nl=False)
    return 0 if found.can_serve else 1


@app.command()
@click.option(
    "--model", metavar="NAME", help="Model, optionally with a policy suffix: deepseek-v3.2:nitro; default: the first."
)
@click.option("--prompt-tokens", type=COUNT, metavar="N", default=1000, help="Prompt length in tokens.")
@click.option("--max-tokens", type=COUNT, metavar="N", help="Maximum answer length in tokens.")
@click.option("--tools", is_flag=True, help="The request uses tools.")
@click.option("--thinking", is_flag=True, help="The request enables reasoning.")
@click.option("--request", type=PATH, help="File with a JSON request body, instead of the above; - is stdin.")
@config_option
@policies_option
@click.option("--url", metavar="URL", help="Use this running gateway and its measurements.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def explain(
    request: Path | None,
    model: str | None,
    config: Path | None,
    policies: Path | None,
    url: str | None,
    as_json: bool,
    **shape: Any,
) -> int:
    """Show where a request would be routed, and why.

    Lists every endpoint, ranked or dropped, with expected cost and time.

    Example: gateway explain --model deepseek-v3.2:floor --prompt-tokens 12000
    """
    from gateway.report import explained, first_listed, first_of, live_plan, planned

    key = os.environ.get("GATEWAY_API_KEY")
    if url is None:
        settings = _priced(_settings(config))
        settings = replace(settings, policies=policies) if policies else settings
        plan = planned(settings, _body(request) if request else _sample(model or first_of(settings), **shape))
    else:
        plan = live_plan(url, _body(request) if request else _sample(model or first_listed(url, key), **shape), key)
    click.echo(json.dumps(plan, indent=2) + "\n" if as_json else explained(plan, live=url is not None), nl=False)
    return 0 if plan["ranked"] else 1


@app.command()
@click.option(
    "--trace", metavar="FILE", help="JSON Lines, or agent-sessions or short-prompts; default: a sample of real traffic."
)
@click.option("--model", metavar="NAME", help="Model to replay; default: the only one in the ledger and the trace.")
@click.option(
    "--policy",
    "given",
    multiple=True,
    metavar="NAME",
    help="Policy name or file, repeatable; default: the default policy, floor, nitro.",
)
@click.option(
    "--baseline",
    "others",
    multiple=True,
    metavar="NAME",
    help="Baseline router, repeatable; default: openrouter and two more.",
)
@click.option("--fleet", metavar="NAME", help="real, wide, or a file; default: as measured by this gateway, else real.")
@click.option(
    "--cap", type=Share(), metavar="SHARE", default="100%", help="Maximum share of tokens for one host, as in 30%."
)
@click.option("--seeds", type=COUNT, metavar="N", default=5, help="Replays of each policy, for confidence intervals.")
@click.option("--limit", type=COUNT, metavar="N", default=20_000, help="Replay only the first N requests of the trace.")
@click.option(
    "--time-scale",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    default=1.0,
    help="Factor by which requests arrive faster.",
)
@config_option
@policies_option
@click.option("--state", type=PATH, help="State folder with the ledger of measurements; default as for serve.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--svg", type=PATH, metavar="FILE", help="Also plot price against time to first token.")
def whatif(
    trace: str | None,
    model: str | None,
    given: tuple[str, ...],
    others: tuple[str, ...],
    fleet: str | None,
    limit: int,
    config: Path | None,
    policies: Path | None,
    state: Path | None,
    as_json: bool,
    svg: Path | None,
    **setup: Any,
) -> None:
    """Replay a trace of requests under several policies.

    No request is sent: time is virtual. Other routers are replayed for comparison.

    Example: gateway whatif --trace trace.jsonl.gz --policy mine.yaml --cap 30%
    """
    from gateway.report import replayed
    from gateway.sim.chart import picture
    from gateway.sim.whatif import Setup, whatif
    from gateway.sim.whatif_inputs import chosen_baselines, chosen_fleet, chosen_model, chosen_policies, chosen_rows

    settings = _settings(config)
    settings = _priced(replace(settings, policies=policies or settings.policies, state=state or settings.state))
    model = chosen_model(model, settings)
    subjects = chosen_policies(given, settings), chosen_baselines(others)
    trace, rows = chosen_rows(trace, limit, model)
    fleet, hosts = chosen_fleet(fleet, settings, _warn, model or rows[0].model or None, own=state is not None)
    with _progress("replaying") as progress:
        report = whatif(Setup(rows, hosts, trace=trace, fleet=fleet, **setup), *subjects, progress)
    click.echo(json.dumps(report.as_json(), indent=2) + "\n" if as_json else replayed(report), nl=False)
    if svg:
        svg.write_text(picture(report), encoding="utf-8")


@app.command()
@click.argument("action", type=click.Choice(["show", "sync"]), default="show")
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="litellm, hosts, or a file of prices; repeatable; default: litellm and hosts.",
)
@click.option(
    "--accept", multiple=True, metavar="ENDPOINT", help="Apply this endpoint's price even if it is unusual; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Only show what a sync would do.")
@config_option
@click.option("--state", type=PATH, help="State folder with prices.yaml; default as for serve.")
def prices(
    action: str,
    sources: tuple[str, ...],
    accept: tuple[str, ...],
    dry_run: bool,
    config: Path | None,
    state: Path | None,
) -> int:
    """Show the prices in force, or compare them with published ones.

    `sync` applies changed prices. Prices that are zero, missing, or more than
    twice or less than half of the price in force are shown and not applied.
    Exit code 1: a source could not be read.

    Example: gateway prices sync --from litellm --dry-run
    """
    from gateway.prices.price_book import book_path
    from gateway.prices.price_list import PriceList
    from gateway.prices.price_sync import sync
    from gateway.prices.price_tables import listed, synced

    settings = _settings(config)
    settings = replace(settings, state=state or settings.state)
    if action == "show":
        if sources or accept or dry_run:
            raise click.UsageError("--from, --accept and --dry-run belong to `gateway prices sync`")
        click.echo(listed(PriceList(settings)), nl=False)
        return 0
    done = sync(settings, sources or ("litellm", "hosts"), accept, time(), dry_run)
    click.echo(synced(done, None if dry_run else book_path(settings)), nl=False)
    return 1 if done.problems else 0


@app.command()
@click.option("--endpoint", "endpoints", multiple=True, metavar="ID", help="Endpoint, repeatable; default: all in use.")
@click.option("--runs", type=COUNT, metavar="N", default=1, help="Speed runs at each endpoint.")
@click.option(
    "--canaries/--no-canaries", default=True, help="Also send questions whose answers can be checked by code."
)
@click.option("--context", is_flag=True, help="Also send a prompt of 90% of the claimed context: expensive.")
@config_option
@click.option("--state", type=PATH, help="State folder with the ledger; default as for serve.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def probe(config: Path | None, state: Path | None, as_json: bool, **options: Any) -> int:
    """Measure the configured hosts: speed runs and canaries.

    Sends requests to real hosts, which cost money: less than a cent per host.

    Example: gateway probe --endpoint novita/fp8 --runs 6
    """
    import asyncio

    from gateway.probe.probe_command import ProbeOptions, probed
    from gateway.probe.probes_page import shown
    from gateway.report import probed as table

    settings = _settings(config)
    chosen = ProbeOptions(**options)
    with _progress("probing") as progress:
        report = asyncio.run(probed(_priced(replace(settings, state=state or settings.state)), chosen, progress))
    click.echo(json.dumps(shown(report.records), indent=2) + "\n" if as_json else table(report), nl=False)
    return 1 if report.failed else 0


app.add_command(keys)
app.add_command(ledger)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _warn(message: str) -> None:
    click.echo(f"gateway: warning: {message}", err=True)


def _print_problems(error: ConfigError) -> None:
    for problem in error.problems:
        click.echo(f"gateway: {problem}", err=True)


def _settings(config: Path | None) -> Settings:
    return load(_config_path(config), os.environ)


def _config_path(config: Path | None) -> Path | None:
    default = Path("gateway.yaml")
    return default if config is None and default.is_file() else config


def _priced(settings: Settings) -> Settings:
    """With the prices in force."""
    from gateway.prices.price_list import PriceList

    return PriceList(settings).priced


def _body(path: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        body = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: is not a request body in JSON: {error}") from None
    if not isinstance(body, dict):
        raise ConfigError(f"{path}: a request body must be a JSON object")
    return body


def _sample(model: str, prompt_tokens: int, max_tokens: int | None, tools: bool, thinking: bool) -> dict[str, Any]:
    """A request of this size. Its text does not affect a plan."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "word" * prompt_tokens}]}
    if max_tokens:
        body["max_tokens"] = max_tokens
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "example", "parameters": {"type": "object"}}}]
    if thinking:
        body["reasoning"] = {"enabled": True}
    return body
