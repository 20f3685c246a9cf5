"""The command line. Exit codes: 0 done, 1 a check found problems, 2 wrong usage or configuration, 130 interrupted.

What only one command needs is imported by that command: a server starts without what draws tables.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gateway import __version__
from gateway.config import Settings, load, sufficient_variables, usable
from gateway.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
PATH = click.Path(path_type=Path)
PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(1)
config_option = click.option("--config", type=PATH, help="gateway.yaml; default: ./gateway.yaml if there.")
policies_option = click.option("--policies", type=PATH, help="Folder of policies, over the shipped ones.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a wrong configuration is told in one line for each problem, without a traceback."""
    try:
        sys.exit(app(arguments, prog_name="gateway", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        _tell(error)
        sys.exit(2)
    except click.Abort:  # what click makes of Ctrl-C
        sys.exit(130)


@click.group(context_settings={"show_default": True})
@click.version_option(__version__, message="gateway %(version)s")
def app() -> None:
    """Routes DeepSeek-V3.2 requests over many hosts by the price and latency really paid."""


@app.command()
@config_option
@policies_option
@click.option("--redis", metavar="URL", help="redis:// URL; default: GATEWAY_REDIS_URL, else embedded.")
@click.option(
    "--state", type=PATH, help="State folder; default: GATEWAY_STATE, else ~/.local/state/llm-routing-gateway."
)
@click.option("--workers", type=COUNT, metavar="N", help="Worker processes.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; default 127.0.0.1.")
@click.option("--port", type=PORT, metavar="N", help="Port to listen on; default 8080; 0 takes any free one.")
@click.option(
    "--no-auth",
    is_flag=True,
    help="Listen beyond loopback without keys: everyone who can reach it spends your money.",
)
def serve(config: Path | None, redis: str | None, no_auth: bool, **given: Any) -> None:
    """Serve with every host whose API key is set in the environment.

    Example: NOVITA_API_KEY=... gateway serve --port 8080
    """
    from gateway.audit import unknown_policies
    from gateway.policy.load import Policies
    from gateway.server.supervisor import serve as run

    settings = replace(_settings(config, redis), **{name: value for name, value in given.items() if value is not None})
    _refuse_open_door(settings, no_auth)
    _refuse_no_endpoint(settings)
    if mistakes := unknown_policies(settings, Policies(settings.policies).current):
        raise ConfigError(*mistakes)
    run(settings)


@app.command()
@click.option("--once", is_flag=True, help="End after the two questions.")
@click.option("--traffic", is_flag=True, help="Keep sample traffic flowing until Ctrl-C.")
@click.option("--port", type=PORT, metavar="N", default=8080, help="Port on 127.0.0.1; 0 takes any free one.")
@click.option(
    "--host-speed",
    type=click.FloatRange(0),
    metavar="X",
    default=1.0,
    help="How much faster than real the hosts are; 0 answers at once.",
)
def demo(once: bool, traffic: bool, port: int, host_speed: float) -> int:
    """Try it: a gateway before simulated hosts, without any key.

    Everything stays on this machine.

    Example: gateway demo --traffic
    """
    from gateway.server.supervisor import listening
    from gateway.sim.demo import Demo

    if once and traffic:
        raise click.UsageError("--once ends before any traffic could flow; choose one of the two")
    with listening("127.0.0.1", port) as listener:  # before anything is started
        free = listener.getsockname()[1]
    return Demo(free, host_speed).run(once, traffic)


@app.command()
@config_option
@policies_option
def check(config: Path | None, policies: Path | None) -> int:
    """Check gateway.yaml, the catalogue and the policies.

    Nothing is sent.

    Example: gateway check --config gateway.yaml --policies policies/
    """
    from gateway.report import checked

    try:
        settings = _settings(config)
        click.echo(checked(replace(settings, policies=policies) if policies else settings), nl=False)
    except ConfigError as error:
        _tell(error)
        return 1
    return 0


@app.command()
@click.option("--model", default="deepseek-v3.2", help="Model, with a policy as suffix: deepseek-v3.2:nitro.")
@click.option("--prompt-tokens", type=COUNT, metavar="N", default=1000, help="Length of the prompt.")
@click.option("--max-tokens", type=COUNT, metavar="N", help="Longest answer.")
@click.option("--tools", is_flag=True, help="The request uses tools.")
@click.option("--thinking", is_flag=True, help="The request asks for thinking.")
@click.option("--request", type=PATH, help="A request body as JSON, instead of the above; - is stdin.")
@config_option
@policies_option
@click.option("--url", metavar="URL", help="Ask this running gateway, which knows live figures.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def explain(
    request: Path | None, config: Path | None, policies: Path | None, url: str | None, as_json: bool, **shape: Any
) -> None:
    """Show where a request would go, and why.

    Every endpoint is listed, kept or dropped, in dollars and seconds.

    Example: gateway explain --model deepseek-v3.2:floor --prompt-tokens 12000
    """
    from gateway.report import asked, explained, planned

    body = _body(request) if request else _sample(**shape)
    if url is None:
        settings = _settings(config)
        plan = planned(replace(settings, policies=policies) if policies else settings, body)
    else:
        plan = asked(url, body, os.environ.get("GATEWAY_API_KEY"))
    click.echo(json.dumps(plan, indent=2) + "\n" if as_json else explained(plan, live=url is not None), nl=False)


def _tell(error: ConfigError) -> None:
    for problem in error.problems:
        click.echo(f"gateway: {problem}", err=True)


def _settings(config: Path | None, redis: str | None = None) -> Settings:
    if config is None and Path("gateway.yaml").is_file():
        config = Path("gateway.yaml")
    return load(config, os.environ | ({"GATEWAY_REDIS_URL": redis} if redis else {}))


def _refuse_open_door(settings: Settings, no_auth: bool) -> None:
    if settings.host not in LOOPBACK and not settings.keys and not no_auth:
        raise ConfigError(
            f"listening on {settings.host} without keys would let anyone spend your money: "
            "set GATEWAY_API_KEYS or `keys:`, or pass --no-auth"
        )


def _refuse_no_endpoint(settings: Settings) -> None:
    from gateway.audit import idle_keys

    if not any(usable(model, settings.secrets) for model in settings.models):
        names = ", ".join(sufficient_variables(settings.models)) or "the variables that its endpoints name"
        raise ConfigError(
            f"no endpoint can be used: set at least one of {names}; or try `gateway demo`",
            *idle_keys(settings.models, os.environ),
        )


def _body(path: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        body = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: is not a request body in JSON: {error}") from None
    if not isinstance(body, dict):
        raise ConfigError(f"{path}: a request body is a JSON object")
    return body


def _sample(model: str, prompt_tokens: int, max_tokens: int | None, tools: bool, thinking: bool) -> dict[str, Any]:
    """A request of this size; only its shape matters to a plan."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "word" * prompt_tokens}]}
    if max_tokens:
        body["max_tokens"] = max_tokens
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "example", "parameters": {"type": "object"}}}]
    if thinking:
        body["reasoning"] = {"enabled": True}
    return body
