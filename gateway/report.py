"""What `gateway check` and `gateway explain` print: tables for a terminal of 80 columns."""

import io
from collections import defaultdict
from time import gmtime, monotonic
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import orjson
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.api.auth import Keys
from gateway.api.explain import told
from gateway.api.names import Names
from gateway.api.parse import Intake
from gateway.config import Settings, usable, wanted_variables
from gateway.errors import ClientError, ConfigError
from gateway.policy.load import Policies
from gateway.proxy.inbound import Inbound
from gateway.route.fleet import Fleet
from gateway.route.plan import make_plan

WIDTH = 80
TIMEOUT = 10.0  # seconds


def checked(settings: Settings) -> str:
    """What the configuration amounts to. Raises ConfigError with every problem."""
    policies = Policies(settings.policies)
    if settings.default_policy not in policies.current:
        raise ConfigError(f"default_policy: there is no policy `{settings.default_policy}`")
    out = _console()
    for model in settings.models:
        table = _table(f"{model.id}: {len(usable(model, settings.secrets))} endpoint(s) in use")
        for name in ("endpoint", "status", "key", "$/M in", "cached", "out", "as of"):
            table.add_column(name, no_wrap=True)
        ready = set(usable(model, settings.secrets))
        for endpoint in model.endpoints:
            price = endpoint.price
            key = (
                "none due"
                if endpoint.api_key_env is None
                else "set"
                if endpoint.api_key_env in settings.secrets
                else "-"
            )
            figures = (
                (f"{price.input:g}", _or_dash(price.cached_input), f"{price.output:g}") if price else ("-", "-", "-")
            )
            status = (
                endpoint.status if endpoint in ready or endpoint.status == "retired" else f"{endpoint.status}, unused"
            )
            table.add_row(endpoint.id, status, key, *figures, price.as_of if price else "-")
        out.print(table)
    out.print(f"policies: {', '.join(sorted(policies.current))} (default {settings.default_policy})")
    out.print("ok")
    return _text(out)


def planned(settings: Settings, body: dict[str, Any]) -> dict[str, Any]:
    """The plan for a request from published figures alone, as if every host's key were set."""
    keys = defaultdict(lambda: "set", dict.fromkeys(wanted_variables(settings.models), "set"))
    policies = Policies(settings.policies)
    intake = Intake(Keys(()), Names(settings.models), policies, settings.default_policy)
    try:
        request, policy = intake.read(Inbound({}, orjson.dumps(body), 0.0))
    except ClientError as error:
        raise ConfigError(error.message) from None
    model = next(model for model in settings.models if model.id == request.model)
    fleet = Fleet(usable(model, keys))
    return told(make_plan(request, policy, fleet, monotonic(), gmtime().tm_hour, lambda: 0.5), request)


def asked(url: str, body: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The plan that a running gateway makes. Raises ConfigError when it cannot be asked."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    request = HttpRequest(f"{url.rstrip('/')}/v1/explain", orjson.dumps(body), headers)
    try:
        with urlopen(request, timeout=TIMEOUT) as response:
            plan: dict[str, Any] = orjson.loads(response.read())
    except HTTPError as error:
        raise ConfigError(f"{url}: {error.code} {error.read()[:300].decode(errors='replace')}") from None
    except (URLError, ValueError, OSError) as error:
        raise ConfigError(f"{url}: cannot be asked: {error}") from None
    return plan


def explained(plan: dict[str, Any], live: bool) -> str:
    """A plan in words and figures."""
    out = _console()
    out.print(
        f"{plan['model']}, policy {plan['policy']}: about {plan['prompt_tokens']:,} tokens in, "
        f"{plan['expected_output_tokens']:,} out"
    )
    table = _table(f"ranked; first by {plan['picked_by']}")
    for name in ("#", "endpoint", "score $", "in $", "out $", "cached", "first s", "all s", "fails"):
        table.add_column(name, justify="left" if name == "endpoint" else "right", no_wrap=True)
    for place, one in enumerate(plan["ranked"], 1):
        table.add_row(
            str(place),
            one["endpoint"],
            *(f"{one[name]:.6f}" for name in ("score_usd", "input_usd", "output_usd")),
            f"{one['expected_cached_share']:.0%}",
            f"{one['expected_ttft_s']:.2f}",
            f"{one['expected_s']:.1f}",
            f"{one['failure_probability']:.1%}",
        )
    out.print(table)
    _print_reasons(out, plan)
    if not live:
        out.print("From published figures only; ask a running gateway (--url) for measured ones.")
    return _text(out)


def _print_reasons(out: Console, plan: dict[str, Any]) -> None:
    behind = [(one["endpoint"], one["behind_because"]) for one in plan["ranked"] if one["behind_because"]]
    for endpoint, reason in behind:
        out.print(f"  behind: {endpoint}: {reason}")
    for one in plan["dropped"]:
        out.print(f"  dropped: {one['endpoint']}: {one['rule']}: {one['detail']}")
    if plan["relaxed"]:
        out.print(f"  relaxed: {plan['relaxed']}, because nothing better was left")


def _console() -> Console:
    return Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False, soft_wrap=False)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
