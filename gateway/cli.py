"""The command line. Exit codes: 0 done, 1 a check found problems, 2 wrong usage or configuration, 130 interrupted."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import __version__
from gateway.config import Settings, load, sufficient_variables, usable
from gateway.errors import ConfigError

app = typer.Typer(
    name="gateway",
    help="Routes DeepSeek-V3.2 requests over many hosts by the price and latency really paid.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

ConfigOption = Annotated[Path | None, typer.Option("--config", help="gateway.yaml; default: ./gateway.yaml if there.")]
PoliciesOption = Annotated[Path | None, typer.Option("--policies", help="Folder of policies, over the shipped ones.")]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a wrong configuration is told in one line for each problem, without a traceback."""
    try:
        app(arguments)
    except ConfigError as error:
        _tell(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _tell(error: ConfigError) -> None:
    for problem in error.problems:
        typer.echo(f"gateway: {problem}", err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


@app.command()
def serve(
    config: ConfigOption = None,
    policies: PoliciesOption = None,
    redis: Annotated[str | None, typer.Option(help="redis:// URL; default: GATEWAY_REDIS_URL, else embedded.")] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="State folder; default: GATEWAY_STATE, else ~/.local/state/llm-routing-gateway."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; default 8080; 0 takes any free one.")
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option(
            "--no-auth", help="Listen beyond loopback without keys: everyone who can reach it spends your money."
        ),
    ] = False,
) -> None:
    """Serve. Every host's API key that is set in the environment brings its endpoint into use.

    Example: `NOVITA_API_KEY=... gateway serve --port 8080`
    """
    from gateway.audit import unknown_policies
    from gateway.policy.load import Policies
    from gateway.server.supervisor import serve as run  # the server is loaded only where it is needed

    given: dict[str, Any] = {
        "policies": policies,
        "state": state,
        "workers": workers,
        "host": host,
        "port": port,
    }
    settings = replace(_settings(config, redis), **{name: value for name, value in given.items() if value is not None})
    _refuse_open_door(settings, no_auth)
    _refuse_no_endpoint(settings)
    if mistakes := unknown_policies(settings, Policies(settings.policies).current):
        raise ConfigError(*mistakes)
    run(settings)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the two questions.")] = False,
    traffic: Annotated[bool, typer.Option("--traffic", help="Keep sample traffic flowing until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any free one.")] = 8080,
    host_speed: Annotated[
        float, typer.Option(min=0, help="How much faster than real the hosts are; 0 answers at once.")
    ] = 1.0,
) -> None:
    """Try it: a gateway before simulated hosts, on this machine alone, without any key.

    Example: `gateway demo --traffic`
    """
    from gateway.server.supervisor import listening
    from gateway.sim.demo import Demo

    if once and traffic:
        raise typer.BadParameter("--once ends before any traffic could flow; choose one of the two")
    with listening("127.0.0.1", port) as listener:  # before anything is started
        free = listener.getsockname()[1]
    raise typer.Exit(Demo(free, host_speed).run(once, traffic))


@app.command()
def check(config: ConfigOption = None, policies: PoliciesOption = None) -> None:
    """Check gateway.yaml, the catalogue and the policies, without sending anything.

    Example: `gateway check --config gateway.yaml --policies policies/`
    """
    from gateway.report import checked

    try:
        settings = _settings(config)
        typer.echo(checked(replace(settings, policies=policies) if policies else settings), nl=False)
    except ConfigError as error:
        _tell(error)
        raise typer.Exit(1) from None


@app.command()
def explain(
    model: Annotated[str, typer.Option(help="Model, with a policy as suffix: deepseek-v3.2:nitro.")] = "deepseek-v3.2",
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of the prompt.")] = 1000,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    tools: Annotated[bool, typer.Option("--tools", help="The request uses tools.")] = False,
    thinking: Annotated[bool, typer.Option("--thinking", help="The request asks for thinking.")] = False,
    request: Annotated[
        Path | None, typer.Option(help="A request body as JSON, instead of the above; - is stdin.")
    ] = None,
    config: ConfigOption = None,
    policies: PoliciesOption = None,
    url: Annotated[str | None, typer.Option(help="Ask this running gateway, which knows live figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show where a request would go, and why: every endpoint kept or dropped, in dollars and seconds.

    Example: `gateway explain --model deepseek-v3.2:floor --prompt-tokens 12000`
    """
    from gateway.report import asked, explained, planned

    body = _body(request) if request else _sample(model, prompt_tokens, max_tokens, tools, thinking)
    if url is None:
        settings = _settings(config)
        plan = planned(replace(settings, policies=policies) if policies else settings, body)
    else:
        plan = asked(url, body, os.environ.get("GATEWAY_API_KEY"))
    typer.echo(json.dumps(plan, indent=2) + "\n" if as_json else explained(plan, live=url is not None), nl=False)


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
