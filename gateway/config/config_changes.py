"""The differences between two configurations, for the log. No secret and no address is quoted.

endpoints and models by id, keys by tenant, all other settings by name ──> "novita/fp8: price.input 0.27 -> 0.2"
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace

from gateway.config.settings import Settings
from gateway.types import Endpoint

# Settings that a running gateway cannot change, with their names in gateway.yaml.
FIXED = {
    "host": "host",
    "port": "port",
    "workers": "workers",
    "redis_url": "redis.url",
    "state": "state",
    "log_format": "log_format",
}
_SHOWN = (bool, int, float)  # types of values that are quoted
_BY_ITEM = frozenset({*FIXED, "keys", "admin", "models", "secrets", "own_prices", "record", "files"})


def with_fixed(settings: Settings, running: Settings) -> tuple[Settings, list[str]]:
    """`settings` with those of `running` that need a restart, and the names of those that differ."""
    kept = {name: getattr(running, name) for name in FIXED}
    differing = [FIXED[name] for name, value in kept.items() if getattr(settings, name) != value]
    return replace(settings, **kept), differing


def changes(before: Settings, after: Settings) -> list[str]:
    """A line for each change; empty if nothing changes."""
    return [
        *_models(before, after),
        *_endpoints(_in_use(before), _in_use(after)),
        *_keys(before, after),
        *_others(before, after),
    ]


def _models(before: Settings, after: Settings) -> Iterator[str]:
    old, new = ({model.id: model for model in settings.models} for settings in (before, after))
    yield from (f"model {name} added" for name in new.keys() - old.keys())
    yield from (f"model {name} removed" for name in old.keys() - new.keys())
    for name in old.keys() & new.keys():
        if replace(old[name], endpoints=()) != replace(new[name], endpoints=()):
            yield f"model {name} changed"


def _endpoints(before: Mapping[str, Endpoint], after: Mapping[str, Endpoint]) -> Iterator[str]:
    yield from (f"endpoint {name} added" for name in after if name not in before)
    yield from (f"endpoint {name} removed" for name in before if name not in after)
    for name in after:
        if name in before and before[name] != after[name]:
            yield f"endpoint {name}: {', '.join(_differences(before[name], after[name]))}"


def _differences(before: object, after: object, path: str = "") -> Iterator[str]:
    """The fields that differ, at any depth; numbers with their values."""
    if is_dataclass(before) and type(before) is type(after):
        for field in fields(before):
            old, new = getattr(before, field.name), getattr(after, field.name)
            if old != new:
                yield from _differences(old, new, f"{path}.{field.name}" if path else field.name)
    elif isinstance(before, _SHOWN) and isinstance(after, _SHOWN):
        yield f"{path} {before:g} -> {after:g}"
    else:
        yield f"{path} changed"


def _keys(before: Settings, after: Settings) -> Iterator[str]:
    """Keys are identified by their digests, and named by their tenants."""
    old, new = ({key.digest: key for key in settings.keys} for settings in (before, after))
    for what, digests, keys in (("added", new.keys() - old.keys(), new), ("revoked", old.keys() - new.keys(), old)):
        for tenant, count in sorted(Counter(keys[digest].tenant for digest in digests).items()):
            yield f"{count} key{'s' * (count > 1)} of tenant {tenant} {what}"
    changed = {new[digest].tenant for digest in old.keys() & new.keys() if old[digest] != new[digest]}
    yield from (f"key of tenant {tenant} changed" for tenant in sorted(changed))
    if before.admin != after.admin:
        yield f"admin key {'changed' if before.admin and after.admin else 'set' if after.admin else 'removed'}"


def _others(before: Settings, after: Settings) -> Iterator[str]:
    for field in fields(Settings):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name not in _BY_ITEM and old != new:
            yield from _differences(old, new, field.name)


def _in_use(settings: Settings) -> dict[str, Endpoint]:
    return {one.id: one for one in settings.in_use}
