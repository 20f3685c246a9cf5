"""The file of price changes, `prices.yaml`: what each sync took, when and from where, and what it did not take.

    synced: 2026-11-30T09:18:39Z
    endpoints:
      novita/fp8:
        changes: # the last one is in force
          - {at: 2026-11-30T09:18:39Z, source: "litellm 1.110.2", input: 0.27, cached_input: 0.135, output: 0.41}
        flags: # shown, not taken
          - {at: 2026-11-30T09:18:39Z, kind: jump, text: "..."}

    read ──> PriceBook ──> with_prices(models): gateway.yaml's own prices > the book > the catalogue
    write: a new file in the same folder, then one rename, so that a full disk leaves the old file

People may edit it. A mistake is reported as `file:line:column`, and nothing of the file is used.
"""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NewType

from gateway.config import Settings
from gateway.document import INVALID, DocumentReader, Hook, Node, Scalar, decode, place_at, read
from gateway.state.folder import default_folder
from gateway.types import Endpoint, Model, Price
from gateway.types.price import PriceFlag
from gateway.types.utc import unix_time, utc_text

NOT_TAKEN: frozenset[PriceFlag] = frozenset({"zero", "missing", "jump", "new", "tiers"})  # flags about a price
MOST_CHANGES = 200  # kept for each endpoint, the latest: four years of weekly changes
HEADER = """\
# Prices that `gateway prices sync` found, in USD per 1M tokens. The last change of an endpoint is in force; flags are
# shown and change nothing. A price in gateway.yaml comes before these, and these come before the catalogue.
# Edit it as you like: a running gateway reads it again. Comments are lost at the next sync.
"""
Moment = NewType("Moment", float)  # Unix seconds, written as 2026-11-30T09:18:39Z
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")


@dataclass(frozen=True, slots=True)
class PriceChange:
    """Prices in USD per 1M tokens from a moment on. `accepted`: a person took what the rules would not take."""

    at: Moment
    source: str
    input: float
    output: float
    cached_input: float | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class RaisedFlag:
    """Something about an endpoint's price that a person should look at, since `at`."""

    at: Moment
    kind: PriceFlag
    text: str


@dataclass(frozen=True, slots=True)
class PriceHistory:
    """One endpoint's changes, oldest first, and its flags, at most one of a kind."""

    changes: tuple[PriceChange, ...] = ()
    flags: tuple[RaisedFlag, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All of the file. An endpoint that the configuration does not have is kept."""

    synced: Moment | None = None
    endpoints: Mapping[str, PriceHistory] = field(default_factory=dict)

    def price(self, endpoint: Endpoint) -> Price | None:
        """The endpoint's price in force: its own, with what the last change says."""
        changes = self.endpoints.get(endpoint.id, NOTHING).changes
        if not changes:
            return endpoint.price
        last, base = changes[-1], endpoint.price or Price(0.0, 0.0)
        day = utc_text(last.at)[: len("2026-11-30")]
        return replace(base, input=last.input, output=last.output, cached_input=last.cached_input, as_of=day)

    def confirmed(self, endpoint: Endpoint) -> PriceChange | Price | None:
        """The last price that a person confirmed: one that was accepted, else the endpoint's own."""
        changes = self.endpoints.get(endpoint.id, NOTHING).changes
        return next((change for change in reversed(changes) if change.accepted), endpoint.price)


NOTHING = PriceHistory()
EMPTY = PriceBook()


def with_prices(models: tuple[Model, ...], book: PriceBook, own: Collection[str]) -> tuple[Model, ...]:
    """The models with the prices in force. `own`: endpoints whose price is in gateway.yaml, which stays."""

    def priced(endpoint: Endpoint) -> Endpoint:
        if endpoint.id in own or endpoint.status == "retired":
            return endpoint
        return replace(endpoint, price=book.price(endpoint))

    return tuple(replace(model, endpoints=tuple(map(priced, model.endpoints))) for model in models)


def book_path(settings: Settings) -> Path:
    """Where the book is: the setting `prices.file`, else `prices.yaml` in the state folder."""
    return settings.prices_file or (settings.state or default_folder()).expanduser() / "prices.yaml"


def read_book(path: Path) -> PriceBook:
    """The book in a file; an empty one where there is no file. Raises ConfigError with every problem."""
    if not os.path.exists(path):
        return EMPTY
    hooks: dict[Any, Hook] = {Moment: _moment, PriceChange: _change}
    return decode(read(path), PriceBook, hooks | {Mapping[str, PriceHistory]: _histories})


def write_book(path: Path, book: PriceBook) -> None:
    """Replaces the file at once. Raises OSError; then the old file is unchanged."""
    target = path.resolve()  # a link stays a link
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(book_text(book))
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            draft.chmod(target.stat().st_mode & 0o777)
        draft.replace(target)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def book_text(book: PriceBook) -> str:
    """The book as YAML: a line for each change and flag, endpoints in the order of their ids."""
    return "\n".join([HEADER.rstrip(), *_lines(book), ""])


def _lines(book: PriceBook) -> Iterator[str]:
    if book.synced is not None:
        yield f"synced: {utc_text(book.synced)}"
    yield "endpoints:" if book.endpoints else "endpoints: {}"
    for name, history in sorted(book.endpoints.items()):
        yield f"  {_key(name)}:"
        if history.changes:
            yield "    changes:"
            yield from map(_change_line, history.changes)
        if history.flags:
            yield "    flags:"
            for flag in history.flags:
                yield f"      - {{at: {utc_text(flag.at)}, kind: {flag.kind}, text: {_quoted(flag.text)}}}"


def _change_line(change: PriceChange) -> str:
    cached = "" if change.cached_input is None else f"cached_input: {change.cached_input:.10g}, "
    prices = f"input: {change.input:.10g}, {cached}output: {change.output:.10g}"
    accepted = ", accepted: true" if change.accepted else ""
    return f"      - {{at: {utc_text(change.at)}, source: {_quoted(change.source)}, {prices}{accepted}}}"


def moment_of(text: str) -> Moment:
    """The moment of a date, with or without a time; UTC where it names no zone. Raises ValueError, OverflowError."""
    moment = Moment(unix_time(text))
    utc_text(moment)  # the last hours of the year 9999 have no such text
    return moment


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps("".join(letter if letter.isprintable() else "?" for letter in text), ensure_ascii=False)


def _moment(reader: DocumentReader, node: Node) -> Any:
    try:
        return moment_of(node.text if isinstance(node, Scalar) else "")
    except (ValueError, OverflowError):
        return reader.problem(node.place, "is not a time; write it as in `2026-11-30T09:18:39Z`")


def _change(reader: DocumentReader, node: Node) -> Any:
    change = reader.record(node, PriceChange)
    if change is INVALID or change.accepted or (change.input and change.output):
        return change
    what = "a price of 0 would attract all traffic; give the price, or add `accepted: true`"
    return reader.problem(place_at(node, "output" if change.input else "input"), what)


def _histories(reader: DocumentReader, node: Node) -> Any:
    return reader.read(node, dict[str, PriceHistory], "endpoints")
