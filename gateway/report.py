"""The output of `check`, `explain`, `whatif` and `probe`: tables for a terminal of 80 columns."""

import os
from collections.abc import Callable
from functools import partial
from time import gmtime, monotonic
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, build_opener
from urllib.request import Request as HttpRequest

import orjson
from rich.console import Console
from rich.table import Table

from gateway.config import Secrets, Settings, usable, wanted_variables, why_unusable
from gateway.config.proxy_environment import ProxyEnvironment
from gateway.config_check import check_config
from gateway.errors import ClientError, ConfigError
from gateway.intake.auth import Keys
from gateway.intake.intake import Intake, Serving
from gateway.intake.model_and_policy import Names
from gateway.policy.policies import Policies
from gateway.probe.endpoint_record import EndpointRecord, percentile
from gateway.probe.probe_command import ProbeReport
from gateway.route.decide import make_plan
from gateway.route.explanation import explanation
from gateway.route.fleet import Fleet
from gateway.sim.whatif import Interval, Outcome, Report
from gateway.terminal import console, printed, titled
from gateway.types import PICO, PROBE, Endpoint, Model
from gateway.types.sink import Inbound

TIMEOUT = 10.0  # seconds
SCORE = "score = in + out + later (re-reads, toll, bad tools, misses) + time + failures"
_KEYS = {
    "set": "Only with the endpoints in use: those whose API key is set.",
    "assumed": "No endpoint is in use, because no API key is set: planned as if all were set.",
}
UNSERVED = "the files are valid, but `gateway serve` cannot start: no endpoint is in use"
SHOWN_SHARE = 0.005  # of all tokens: hosts with a smaller share are not listed
_Column = tuple[str, str, Callable[[Interval | None], str]]  # heading, figure, formatter


class Check(NamedTuple):
    """A summary of a valid configuration, and whether `gateway serve` would start with it."""

    text: str
    can_serve: bool


def checked(settings: Settings) -> Check:
    """Raises ConfigError with all problems."""
    policies = Policies(settings.policies).current
    found = check_config(settings, policies)
    if found.problems:
        raise ConfigError(*found.problems)
    out = console()
    for model in settings.models:
        out.print(_endpoints(model, settings.secrets))
    out.print(f"\npolicies: {', '.join(sorted(policies))} (default {settings.default_policy})")
    for warning in found.warnings:
        out.print(f"warning: {warning}")
    can_serve = bool(settings.in_use)
    out.print("ok" if can_serve else UNSERVED)
    return Check(printed(out), can_serve)


def _endpoints(model: Model, secrets: Secrets) -> Table:
    """The endpoints of a model: those in use first, retired ones last."""
    count = len(usable(model, secrets))
    table = titled(f"{model.id}: {count} of {len(model.endpoints)} endpoints in use", "endpoint")
    for name in ("$/M in", "cached", "out"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("as of", no_wrap=True)
    table.add_column("in use", overflow="fold")
    notes = {endpoint: why_unusable(endpoint, secrets) for endpoint in model.endpoints}
    for endpoint in sorted(notes, key=lambda one: (notes[one] is not None, one.status == "retired")):
        table.add_row(endpoint.id, *_prices(endpoint), _use(endpoint, notes[endpoint]))
    return table


def _prices(endpoint: Endpoint) -> tuple[str, str, str, str]:
    price = endpoint.price
    if price is None:
        return "-", "-", "-", "-"
    cached = "-" if price.cached_input is None else f"{price.cached_input:g}"
    return f"{price.input:g}", cached, f"{price.output:g}", price.as_of[:7]


def _use(endpoint: Endpoint, note: str | None) -> str:
    unsure = " (uncertain)" if endpoint.status == "uncertain" else ""
    return f"{note or 'yes'}{unsure}"


def planned(settings: Settings, body: dict[str, Any]) -> dict[str, Any]:
    """The plan for a request from published figures only, with `keys`: whether it has the endpoints in use (`set`), or
    all, because the model has none in use (`assumed`)."""
    all_set = dict.fromkeys(wanted_variables(settings.models), "set")
    in_use = {model.id: usable(model, settings.secrets) for model in settings.models}
    policies = Policies(settings.policies)
    fleets = {model.id: Fleet(in_use[model.id] or usable(model, all_set)) for model in settings.models}
    serving = Serving(Keys(()), policies, fleets, settings.default_policy, settings.rules)
    intake = Intake(serving, Names(settings.models))
    try:
        request, policy = intake.read(Inbound({}, orjson.dumps(body), 0.0))
    except ClientError as error:
        raise ConfigError(error.message) from None
    plan = make_plan(request, policy, fleets[request.model], monotonic(), gmtime().tm_hour, lambda: 0.5)
    return {**explanation(plan, request.model), "keys": "set" if in_use[request.model] else "assumed"}


def first_of(settings: Settings) -> str:
    """The default model. Raises ConfigError if there is none."""
    if not settings.models:
        raise ConfigError("there is no model; add one under `models:` in gateway.yaml")
    return settings.models[0].id


def first_listed(url: str, key: str | None) -> str:
    """The default model of a running gateway. Raises ConfigError if the gateway cannot be reached."""
    match _answer(url, "/v1/models", key):
        case {"data": [{"id": str() as model}, *_]}:
            return model
    raise _not_a_gateway(url)


def live_plan(url: str, body: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The plan of a running gateway. Raises ConfigError if the gateway cannot be reached."""
    plan = _answer(url, "/v1/explain", key, body)
    if not isinstance(plan, dict) or "ranked" not in plan:
        raise _not_a_gateway(url)
    return plan


def _not_a_gateway(url: str) -> ConfigError:
    return ConfigError(f"{_where(url)}: the server there is not a gateway")


def _answer(url: str, path: str, key: str | None, body: dict[str, Any] | None = None) -> Any:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        root = url.rstrip("/").removesuffix("/api/v1").removesuffix("/v1")  # a client's base URL works, too
        request = HttpRequest(f"{root}{path}", None if body is None else orjson.dumps(body), headers)
        with _opener(root).open(request, timeout=TIMEOUT) as response:
            return orjson.loads(response.read())
    except HTTPError as error:
        hint = "; set GATEWAY_API_KEY to one of its keys" if error.code == 401 else ""
        raise ConfigError(f"{_where(url)}: {error.code} {_message(error.read())}{hint}") from None
    except (ValueError, OSError) as error:
        why = getattr(error, "reason", error)
        raise ConfigError(f"{_where(url)}: cannot be reached ({why}); give the address of a running gateway") from None


class NoRedirects(HTTPRedirectHandler):
    """Follows no redirect, which would take the key to another host: its answer is an error."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(url: str) -> OpenerDirector:
    """Uses the environment's proxies. Rejects an https:// proxy: urllib would speak to it without TLS."""
    environment = ProxyEnvironment(os.environ)
    proxy = environment.proxy_of(url) if urlsplit(url).scheme in ("http", "https") else None
    if environment.problems:
        raise ConfigError(*environment.problems)
    if proxy and proxy.scheme == "https":
        raise ConfigError(f"{_where(url)}: a proxy at https:// is not supported here; add its host to NO_PROXY")
    return build_opener(NoRedirects, ProxyHandler({urlsplit(url).scheme: proxy.with_login()} if proxy else {}))


def _where(url: str) -> str:
    """The address without user and password."""
    return f"--url {urlsplit(url).netloc.rpartition('@')[2] or url}"


def _message(body: bytes) -> str:
    """The message of an error body in OpenAI's format, else the start of the body."""
    try:
        return str(orjson.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode(errors="replace")


def explained(plan: dict[str, Any], live: bool) -> str:
    """A plan as a table, with the reasons for endpoints that are not used."""
    out = console()
    out.print(
        f"{plan['model']}, policy {plan['policy']}: about {plan['prompt_tokens']:,} tokens in, "
        f"{plan['expected_output_tokens']:,} out"
    )
    if plan["ranked"]:
        out.print(_ranked(plan))
        out.print(f"\n{SCORE}")
    else:
        out.print("no endpoint can serve this request:" if plan["dropped"] else "no endpoint is in use")
    _print_reasons(out, plan)
    if not live:
        out.print(f"\n{_KEYS[plan['keys']]}")
        out.print("From published figures only; use a running gateway (--url) for measured ones.")
    return printed(out)


def _ranked(plan: dict[str, Any]) -> Table:
    table = titled(f"best first; the first was picked by: {plan['picked_by']}{_likely(plan)}", "endpoint")
    table.padding = (0, 0)  # nine columns must fit into 80 characters
    for name in ("score $", "in $", "out $", "later $", "cached", "TTFT s", "all s", "fails"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in plan["ranked"]:
        later = one["reread_usd"] + one["toll_usd"] + one["quality_usd"] + one["miss_usd"]
        dollars = (one["score_usd"], one["input_usd"], one["output_usd"], later)
        table.add_row(
            one["endpoint"],
            *(f"{usd:.6f}".removeprefix("0") for usd in dollars),
            f"{one['expected_cached_share']:.0%}",
            f"{one['expected_ttft_s']:.2f}",
            f"{one['expected_s']:.1f}",
            f"{one['failure_probability']:.1%}",
        )
    return table


def _likely(plan: dict[str, Any]) -> str:
    """The probability of each endpoint to be sampled first; empty if the choice was not random."""
    drawn = [f"{one['endpoint']} {one['odds']:.0%}" for one in plan["ranked"] if 0 < one["odds"] < 1]
    return f" ({', '.join(drawn)})" if drawn else ""


def _print_reasons(out: Console, plan: dict[str, Any]) -> None:
    behind = [(one["endpoint"], one["behind_because"]) for one in plan["ranked"] if one["behind_because"]]
    for endpoint, reason in behind:
        out.print(f"  behind: {endpoint}: {reason}")
    for one in plan["dropped"]:
        out.print(f"  dropped: {one['endpoint']}: {one['rule']}: {one['detail']}")
    if plan["relaxed"]:
        out.print(f"  relaxed: {plan['relaxed']}, because nothing better was left")


def replayed(report: Report) -> str:
    """A what-if report: cost, latency and share of tokens per host for each policy and baseline."""
    out = console()
    hosts = f"{len(report.hosts)} {'host' if len(report.hosts) == 1 else 'hosts'}"
    seeds = f"{report.seeds} {'seed' if report.seeds == 1 else 'seeds'}"
    cap = f"cap {report.cap:.0%}" if report.cap < 1 else "no cap"
    out.print(f"{report.requests:,} requests, {report.tokens:,} tokens, {hosts}; {cap}, {seeds}, ± is 95 %")
    out.print(f"trace: {report.trace}; fleet: {report.fleet}\n", soft_wrap=True)
    paid = _measured(report, "paid, USD per 1M tokens", _PAID)
    floor = report.floor
    paid.add_row("(oracle floor)", "", f"{floor.blended_price:.4f}", f"{floor.cache_hit:.0%}")
    waited = _measured(report, "time to first token, s", _WAITED)
    failed = _measured(report, "answers", _FAILED)
    for table in (paid, waited, failed):
        out.print(table)
        out.print()
    out.print(_shares(report))
    return printed(out)


def _measured(report: Report, title: str, columns: tuple[_Column, ...]) -> Table:
    table = titled(title, "")
    for heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in report.outcomes:
        table.add_row(_subject(outcome), *(show(outcome.figures[name]) for _, name, show in columns))
    return table


def _shares(report: Report) -> Table:
    table = titled("share of all tokens", "")
    table.add_column("")
    for outcome in report.outcomes:
        most_first = sorted(outcome.shares.items(), key=lambda item: -item[1].mean)
        shares = (f"{host} {share.mean:.0%}" for host, share in most_first if share.mean >= SHOWN_SHARE)
        table.add_row(_subject(outcome), ", ".join(shares) or "none")
    table.show_header = False
    return table


def _subject(outcome: Outcome) -> str:
    return outcome.name if outcome.kind == "policy" else f"· {outcome.name}"


def _figure(figure: Interval | None, digits: int) -> str:
    if figure is None:
        return "-"
    half = "" if figure.half is None else f"±{figure.half:.{digits}f}".replace("±0.", "±.")
    return f"{figure.mean:.{digits}f}{half}"


def _percent(figure: Interval | None, digits: int) -> str:
    return "-" if figure is None else f"{figure.mean:.{digits}%}"


def _answered(figure: Interval | None) -> str:
    percent = figure and Interval(figure.mean * 100, None if figure.half is None else figure.half * 100)
    return _figure(percent, 3)


_PAID: tuple[_Column, ...] = (
    ("input", "effective_input_price", partial(_figure, digits=4)),
    ("blended", "blended_price", partial(_figure, digits=4)),
    ("cached", "cache_hit", partial(_percent, digits=0)),
    ("busiest", "busiest", partial(_percent, digits=0)),
    ("predicted $", "predicted_usd_bias", partial(_figure, digits=2)),
)
_WAITED: tuple[_Column, ...] = (
    *((f"p{share}", f"ttft_p{share}", partial(_figure, digits=2)) for share in (50, 95, 99)),
    ("predicted s", "predicted_seconds_bias", partial(_figure, digits=2)),
)
_FAILED: tuple[_Column, ...] = (
    ("answered, %", "success", _answered),
    ("cut later", "cut_later", partial(_percent, digits=2)),
    ("hedged", "hedges", partial(_percent, digits=1)),
    ("lost $", "hedge_spend", partial(_percent, digits=1)),
)


def probed(report: ProbeReport) -> str:
    """A table of speed, canaries and cost by endpoint, and the last mistake of each canary that was not passed."""
    out = console()
    table = titled("", "endpoint")
    for name in ("errors", "TTFT", "p95", "tokens/s", "p5", "right", "USD"):
        table.add_column(name, justify="right", no_wrap=True)
    for endpoint, record in report.records.items():
        usd = report.costs.get(endpoint, 0) / PICO
        table.add_row(endpoint, *_speeds(record), _passed(record), f"{usd:.4f}")
    out.print(table)
    for endpoint, record in report.records.items():
        for run in (one for one in record.runs if one.outcome != "ok"):
            out.print(f"  error: {endpoint}: {run.outcome} after {run.seconds:.1f} s")
        for name, canary in record.canaries.items():
            if canary.mistake:
                out.print(f"  {name}: {endpoint}: {canary.mistake}")
    for endpoint in report.left_out:
        out.print(f"  left out: {endpoint}: has no price")
    out.print(f"\n${sum(report.costs.values()) / PICO:.4f} in all, booked as `{PROBE}`")
    return printed(out)


def _speeds(record: EndpointRecord) -> tuple[str, ...]:
    """Failed runs of all, seconds to the first token, output tokens per second, with the slow end of both."""
    waits = sorted(run.ttft for run in record.runs if run.ttft is not None)
    speeds = sorted(run.throughput for run in record.runs if run.throughput is not None)
    failed = sum(run.outcome != "ok" for run in record.runs)
    figures = (f"{one:.2f}" if (one := percentile(waits, share)) is not None else "-" for share in (0.5, 0.95))
    paces = (f"{one:.0f}" if (one := percentile(speeds, share)) is not None else "-" for share in (0.5, 0.05))
    return f"{failed} / {len(record.runs)}", *figures, *paces


def _passed(record: EndpointRecord) -> str:
    answers = sum(len(canary.results) for canary in record.canaries.values())
    return f"{sum(canary.passed for canary in record.canaries.values())} / {answers}" if answers else "-"
