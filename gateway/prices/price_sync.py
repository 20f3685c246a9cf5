"""One sync: sources are read, each endpoint's quote is judged, and the book with what was taken is written.

    litellm's map ─┐
    hosts' lists ──┼─> PriceFindings ── judge ──> Synced: the new book, and a line for each endpoint
    a file ────────┘   (a host's own price comes before litellm's)

Endpoints that are retired, simulated or self-hosted are left out. A price in gateway.yaml stays, whatever a source
says.
"""

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gateway.config import Settings
from gateway.document import nearest
from gateway.errors import ConfigError
from gateway.prices.host_lists import ask_hosts
from gateway.prices.litellm_map import package_map
from gateway.prices.price_book import (
    MOST_CHANGES,
    NOT_TAKEN,
    NOTHING,
    Moment,
    PriceBook,
    PriceChange,
    PriceHistory,
    RaisedFlag,
    book_path,
    read_book,
    write_book,
)
from gateway.prices.price_check import PriceVerdict, judged
from gateway.prices.price_list_file import quotes_in
from gateway.prices.quote import Quote
from gateway.types import Endpoint, Price
from gateway.types.price import PriceFlag

Result = Literal["same", "taken", "accepted", "not taken", "own price", "no price"]


class SyncRunning(ConfigError):
    """Another sync holds the lock."""


@dataclass(frozen=True, slots=True)
class PriceFindings:
    """What the sources say, by endpoint. `listed`: whether its host's list has its model."""

    quotes: Mapping[str, Quote]
    listed: Mapping[str, bool] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncedPrice:
    """The line of one endpoint. `before` is the price that was in force."""

    endpoint: Endpoint
    before: Price | None
    verdict: PriceVerdict | None
    result: Result
    flags: tuple[RaisedFlag, ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """The result of a sync. `problems`: a line for each source that could not be read."""

    book: PriceBook
    lines: tuple[SyncedPrice, ...]
    problems: tuple[str, ...]


def sync(
    settings: Settings, sources: Collection[str], accept: Collection[str], now: float, dry: bool = False
) -> Synced:
    """Reads the sources, judges, and writes the book unless `dry`.

    `sources`: litellm, hosts, or the path of a file. Raises ConfigError where the book, a file or litellm's map cannot
    be used, or another sync is running.
    """
    endpoints = _compared(settings)
    ids = {endpoint.id for endpoint in endpoints}
    if unknown := [name for name in accept if name not in ids]:
        raise ConfigError(f"--accept: there is no endpoint `{unknown[0]}` to sync; {nearest(unknown[0], ids)}")
    path = book_path(settings)
    if dry:
        return judge_all(settings, read_book(path), find(settings, endpoints, sources), accept, now)
    with _alone(path):
        book = read_book(path)
        done = judge_all(settings, book, find(settings, endpoints, sources), accept, now)
        try:
            write_book(path, done.book)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); the old one is unchanged") from None
    return done


def _compared(settings: Settings) -> list[Endpoint]:
    """The endpoints whose prices are published somewhere: neither retired, nor self-hosted, nor simulated."""
    endpoints = (endpoint for model in settings.models for endpoint in model.endpoints)
    return [one for one in endpoints if one.status in ("active", "uncertain") and not one.simulated]


def find(settings: Settings, endpoints: list[Endpoint], sources: Collection[str]) -> PriceFindings:
    """Reads the sources in the order litellm, files, hosts: a later one comes before an earlier one."""
    quotes: dict[str, Quote] = {}
    listed: dict[str, bool] = {}
    problems: list[str] = []
    if "litellm" in sources:
        quotes |= package_map().quotes(endpoints)
    for name in sources:
        if name in ("litellm", "hosts"):
            continue
        if not Path(name).is_file():
            raise ConfigError(f"--from: `{name}` is not a file; write litellm, hosts, or the path of a file of prices")
        quotes |= quotes_in(Path(name), endpoints)
    if "hosts" in sources:
        hosts = ask_hosts(endpoints, settings.secrets)
        quotes |= {name: _with_end(quote, quotes.get(name)) for name, quote in hosts.quotes.items()}
        listed, problems = hosts.listed, hosts.problems
    return PriceFindings(quotes, listed, tuple(problems))


def _with_end(quote: Quote, other: Quote | None) -> Quote:
    """A host's quote with the end that litellm's map knows; hosts do not say it."""
    return replace(quote, ends=other.ends) if other else quote


def judge_all(settings: Settings, book: PriceBook, found: PriceFindings, accept: Collection[str], now: float) -> Synced:
    """The new book, and a line for each endpoint of which a source says something."""
    histories, lines = dict(book.endpoints), []
    today = datetime.fromtimestamp(now, UTC).date()
    for endpoint in _compared(settings):
        quote, listed = found.quotes.get(endpoint.id), found.listed.get(endpoint.id)
        if quote is None and listed is None:
            continue
        own = endpoint.id in settings.own_prices
        before = endpoint.price if own else book.price(endpoint)
        verdict = judged(quote, before, book.confirmed(endpoint), endpoint.id in accept, today) if quote else None
        history = histories.get(endpoint.id, NOTHING)
        flags = _flags(history.flags, _raised(endpoint, quote, verdict, own, listed), now)
        taken = verdict is not None and verdict.taken and not own
        changes = (*history.changes, _change(quote, verdict, now)) if taken and quote and verdict else history.changes
        histories[endpoint.id] = PriceHistory(changes[-MOST_CHANGES:], flags)
        lines.append(SyncedPrice(endpoint, before, verdict, _result(verdict, own, endpoint.id in accept), flags))
    kept = {name: history for name, history in histories.items() if history != NOTHING}
    return Synced(PriceBook(Moment(now), kept), tuple(lines), found.problems)


def _change(quote: Quote, verdict: PriceVerdict, now: float) -> PriceChange:
    offer = verdict.offer
    assert offer is not None
    accepted = any(kind in NOT_TAKEN for kind, _ in verdict.flags)
    return PriceChange(Moment(now), quote.source, offer.input, offer.output, offer.cached_input, accepted)


def _raised(
    endpoint: Endpoint, quote: Quote | None, verdict: PriceVerdict | None, own: bool, listed: bool | None
) -> dict[PriceFlag, str]:
    """What this sync says about each kind of flag: what to look at, or empty to withdraw it. Kinds of which no source
    speaks are absent."""
    said: dict[PriceFlag, str] = {}
    if quote and verdict:
        said |= dict.fromkeys(NOT_TAKEN, "")
        if quote.ends is not None:
            said["deprecated"] = ""
        settled = verdict.taken or own  # accepted, or the price in gateway.yaml stays
        said |= {kind: text for kind, text in verdict.flags if not (settled and kind in NOT_TAKEN)}
    if listed is not None:
        said["unlisted"] = "" if listed else f"the host's list does not have {endpoint.model}"
    return said


def _flags(before: tuple[RaisedFlag, ...], said: dict[PriceFlag, str], now: float) -> tuple[RaisedFlag, ...]:
    """The flags after this sync, in the order of their kinds. One that stays keeps its time."""
    since = {flag.kind: flag.at for flag in before}
    kept = [flag for flag in before if flag.kind not in said]
    raised = [RaisedFlag(since.get(kind, Moment(now)), kind, text) for kind, text in said.items() if text]
    return tuple(sorted(kept + raised, key=lambda flag: flag.kind))


def _result(verdict: PriceVerdict | None, own: bool, accepted: bool) -> Result:
    if verdict is None:
        return "no price"
    if own:
        return "own price"
    if verdict.taken:
        return "accepted" if accepted else "taken"
    if verdict.offer is None or verdict.changes:
        return "not taken"
    return "same"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds a lock on the book's folder, so that two syncs do not overwrite each other."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot be used ({error.strerror}); name another file") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SyncRunning(f"{path}: another sync is running; try again when it is done") from None
    finally:
        os.close(folder)
