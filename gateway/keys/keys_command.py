"""`gateway keys`: virtual keys, in the store of the gateway, or in its state folder while it is not running."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import msgspec

from gateway.config import Settings, load
from gateway.config.keys import NO_TIME, time_of
from gateway.document import quantity
from gateway.errors import ClientError, ConfigError
from gateway.keys.file_records import FileRecords
from gateway.keys.key_desk import Choices, KeyDesk
from gateway.keys.key_file import KeyFile
from gateway.keys.key_record import KeyRecord
from gateway.keys.key_store import KeyStore
from gateway.state.folder import StateFolder
from gateway.types.units import DURATION, USD
from gateway.types.utc import utc_text

T = TypeVar("T")
PATH = click.Path(path_type=Path)


class InUnit(click.ParamType[float]):
    """A number with its unit, as in gateway.yaml."""

    def __init__(self, unit: Any) -> None:
        self.name = unit.name
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = value if isinstance(value, float) else quantity(str(value), self._unit)
        if found is None:
            self.fail(f"`{value}` is not valid; write it as in `{self._unit.example}`", param, ctx)
        return found


class Time(click.ParamType[float]):
    """A date or time in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = value if isinstance(value, float) else time_of(str(value))
        if found is None:
            self.fail(NO_TIME, param, ctx)
        return found


@click.command()
@click.argument("action", type=click.Choice(["create", "list", "revoke", "rotate"]), default="list")
@click.argument("name", required=False)
@click.option("--policy", metavar="NAME", help="Default policy of the key's requests.")
@click.option(
    "--allow-policy", "policies", multiple=True, metavar="NAME", help="Policy it may use; repeatable; default: all."
)
@click.option(
    "--allow-model", "models", multiple=True, metavar="NAME", help="Model it may use; repeatable; default: all."
)
@click.option("--group", metavar="NAME", help="Group whose limits it shares.")
@click.option("--expires", type=Time(), metavar="TIME", help="Date or time in UTC from which it is refused.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Maximum requests per minute.")
@click.option("--tokens-per-minute", type=click.IntRange(1), metavar="N", help="Maximum tokens per minute, in and out.")
@click.option("--usd-per-day", type=InUnit(USD), metavar="USD", help="Budget per day (UTC), as in $5.")
@click.option("--usd-per-month", type=InUnit(USD), metavar="USD", help="Budget per month (UTC), as in $100.")
@click.option(
    "--grace",
    type=InUnit(DURATION),
    metavar="TIME",
    help="How long the former secret works after `rotate`; default 24h.",
)
@click.option("--config", type=PATH, help="gateway.yaml; default: ./gateway.yaml if it exists.")
@click.option("--policies", "folder", type=PATH, help="Folder of policies, which override the shipped ones.")
@click.option("--state", type=PATH, help="State folder; default as for serve.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def keys(
    action: str,
    name: str | None,
    grace: float | None,
    config: Path | None,
    folder: Path | None,
    state: Path | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Create, list, revoke or rotate virtual keys.

    A new secret is shown once; only its digest is kept. A running gateway
    applies changes within two seconds.

    Example: gateway keys create chat-app --group web --usd-per-day '$5'
    """
    given = {key: value for key, value in fields.items() if value}
    if (name is None) != (action == "list"):
        raise click.UsageError("`list` takes no name" if name else f"write the name of the key: keys {action} NAME")
    if given and action != "create":
        raise click.UsageError("policies, models, limits, group and expiry belong to `gateway keys create`")
    if grace is not None and action != "rotate":
        raise click.UsageError("--grace belongs to `gateway keys rotate`")
    settings = load(config or (Path("gateway.yaml") if Path("gateway.yaml").is_file() else None), os.environ)
    choices = partial(click.get_current_context().obj, settings, folder or settings.policies)
    try:
        text = _with_desk(settings, state, choices, lambda desk: _done(desk, action, name or "", grace, given, as_json))
    except ClientError as error:
        raise ConfigError(f"keys: {error.message}") from None
    click.echo(text)


async def _done(
    desk: KeyDesk, action: str, name: str, grace: float | None, given: dict[str, Any], as_json: bool
) -> str:
    if action == "list":
        return _listed(await desk.listed(), as_json)
    if action == "revoke":
        record = await desk.revoke(name)
        return json.dumps(shown(record)) if as_json else f"revoked: {record.name}"
    if action == "create":
        record, secret = await desk.create(KeyRecord(name=name, digest="", created=0.0, changed=0, **given))
    else:
        record, secret = await desk.rotate(name) if grace is None else await desk.rotate(name, grace)
    return json.dumps(shown(record) | {"key": secret}) if as_json else _secret(record, secret)


def shown(record: KeyRecord) -> dict[str, Any]:
    """A record for people and scripts: without digests, times in ISO 8601."""
    found: dict[str, Any] = msgspec.to_builtins(record)
    for name in ("digest", "former_secrets", "changed"):
        found.pop(name, None)
    return found | {name: utc_text(found[name]) for name in ("created", "expires", "revoked") if found.get(name)}


def _secret(record: KeyRecord, secret: str) -> str:
    former = record.former_secrets
    until = f"\nthe former secret works until {utc_text(former[0].until)}" if former else ""
    return f"{record.name}: {secret}\nthis secret is not shown again{until}"


def _listed(records: list[KeyRecord], as_json: bool) -> str:
    if as_json:
        return json.dumps([shown(record) for record in records], indent=2)
    if not records:
        return "no virtual keys; `gateway keys create NAME` makes one"
    from gateway.terminal import console, printed, titled

    table = titled("virtual keys", "name")
    for column in ("group", "limits", "expires"):
        table.add_column(column)
    for record in records:
        limits = ", ".join(f"{name} {bound:g}" for name, bound in record.bounds.items())
        table.add_row(
            record.name, record.group or "-", limits or "-", utc_text(record.expires) if record.expires else "-"
        )
    lines = console()
    lines.print(table)
    return printed(lines).rstrip("\n")


def _with_desk(
    settings: Settings, state: Path | None, choices: Callable[[], Choices], work: Callable[[KeyDesk], Awaitable[T]]
) -> T:
    folder = StateFolder(state or settings.state)
    desk = partial(KeyDesk, taken=[key.tenant for key in settings.keys], choices=choices)
    url = settings.redis_url or f"unix://{quote(str(folder.socket))}"
    try:
        return asyncio.run(_in_store(url, desk, work))
    except OSError as error:
        if settings.redis_url:
            raise ConfigError(f"keys: the store cannot be reached: {error}") from None
    folder.open()  # no gateway runs: the lock keeps one from starting meanwhile
    try:
        return asyncio.run(_awaited(work(desk(FileRecords(KeyFile(folder.path))))))
    except OSError as error:
        raise ConfigError(f"keys: {folder.path}: {error.strerror or error}") from None
    finally:
        folder.close()


async def _in_store(url: str, desk: Callable[[KeyStore], KeyDesk], work: Callable[[KeyDesk], Awaitable[T]]) -> T:
    with closing(KeyStore(url)) as store:
        return await work(desk(store))


async def _awaited(work: Awaitable[T]) -> T:
    return await work
