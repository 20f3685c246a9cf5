"""The output of `gateway prices`."""

from pathlib import Path

from rich.table import Table

from gateway.prices.price_list import PriceList
from gateway.prices.price_sync import Synced, SyncedPrice
from gateway.terminal import console, printed, titled
from gateway.types import Model, Price
from gateway.types.utc import utc_text


def listed(prices: PriceList) -> str:
    """The prices in force, where each is from, and all flags."""
    out = console()
    synced = prices.book.synced
    for model in prices.priced.models:
        out.print(_in_force(model, prices))
    out.print(f"\nlast sync: {utc_text(synced) if synced else 'none'}; changes are kept in {prices.path}")
    known = {endpoint.id for model in prices.settings.models for endpoint in model.endpoints}
    for name, history in sorted(prices.book.endpoints.items()):
        for flag in history.flags:
            out.print(f"{name}: {flag.kind} since {utc_text(flag.at)[:10]}: {flag.text}")
        if name not in known:
            out.print(f"{name}: is in {prices.path.name}, but not in the configuration")
    return printed(out)


def _in_force(model: Model, prices: PriceList) -> Table:
    table = _table(f"{model.id}: USD per 1M tokens")
    table.add_column("as of", no_wrap=True)
    table.add_column("source", overflow="fold")
    for endpoint in model.endpoints:
        if endpoint.status == "retired":
            continue
        changes = prices.history(endpoint).changes
        if changes:
            source = f"{changes[-1].source}{', accepted' if changes[-1].accepted else ''}"
        elif endpoint.id in prices.settings.own_prices:
            source = "gateway.yaml"
        else:
            source = "catalogue" if endpoint.price else "none"
        as_of = endpoint.price.as_of if endpoint.price else "-"
        table.add_row(endpoint.id, *_figures(endpoint.price), as_of, source)
    return table


def synced(done: Synced, written: Path | None) -> str:
    """What a sync found: a line for each endpoint, then what was not taken and why. `written`: None for a dry run."""
    out = console()
    table = _table("USD per 1M tokens: the price before, and what the source says")
    table.add_column("in, cached, out", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for line in done.lines:
        table.add_row(line.endpoint.id, *_figures(line.before), _offered(line), line.result)
    out.print(table if done.lines else "no source has these endpoints; a host is queried only if its API key is set")
    out.print()
    for line in done.lines:
        for flag in line.flags:
            out.print(f"{line.endpoint.id}: {flag.kind}: {flag.text}")
    for problem in done.problems:
        out.print(f"not read: {problem}")
    if any(line.result == "not taken" and line.verdict and line.verdict.offer for line in done.lines):
        out.print("to take a price that was not taken: gateway prices sync --accept ENDPOINT")
    out.print(f"written: {written}" if written else "dry run: nothing was written")
    return printed(out)


def _table(title: str) -> Table:
    table = titled(title, "endpoint")
    for name in ("in", "cached", "out"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figures(price: Price | None) -> tuple[str, str, str]:
    if price is None:
        return "-", "-", "-"
    return f"{price.input:g}", _cached(price.cached_input), f"{price.output:g}"


def _offered(line: SyncedPrice) -> str:
    offer = line.verdict.offer if line.verdict else None
    return f"{offer.input:g} {_cached(offer.cached_input)} {offer.output:g}" if offer else "-"


def _cached(price: float | None) -> str:
    return "-" if price is None else f"{price:g}"
