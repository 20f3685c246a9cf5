"""The folder of policies: loaded as a whole, replaced as a whole.

    shipped policies --+
    user's folder -----+--overlay by name--> PolicySet --reload--> the next one, or none when a file is invalid

The folder and its files may be symbolic links that are swapped, as git-sync and Kubernetes do: links are followed anew
at each check.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import gateway
from gateway.document import read
from gateway.errors import ConfigError, Unreadable
from gateway.files import Stamp, stamp
from gateway.policy.policy_document import read_policy
from gateway.state.conditions import Conditions
from gateway.types import Policy

PolicySet: TypeAlias = Mapping[str, Policy]  # by name; read-only

MOST_WARNINGS = 10  # lines logged per reload
CHECK_EVERY = 0.25  # seconds; checking the shipped folder takes 0.1 ms
RETRY_AFTER = 20  # checks after which an unreadable file is read again, though it has not changed

_log = logging.getLogger(__name__)
_Stamps: TypeAlias = frozenset[tuple[Path, Stamp]]


def shipped_folder() -> Path:
    """The policies that come with the gateway: inside the wheel, or next to the package in a source checkout."""
    package = Path(gateway.__file__).parent
    inside = package / "policies"
    return inside if inside.is_dir() else package.parent / "policies"


def load_folder(folder: Path) -> PolicySet:
    """Every `*.yaml` of `folder` by its name. Raises ConfigError with the problems of all files, as Unreadable if one
    of them could not be read.
    """
    problems: list[str] = []
    policies: dict[str, Policy] = {}
    unreadable = False
    try:
        paths = _files(folder)
    except OSError as error:
        raise Unreadable(f"{folder}: {_reason(error)}; give the folder that holds the policy files") from None
    for path in paths:
        if path.suffix == ".yml":
            problems.append(f"{path}: is not loaded; name it {path.stem}.yaml")
            continue
        try:
            policies[path.stem] = read_policy(read(path), path.stem)
        except ConfigError as error:
            problems.extend(error.problems)
            unreadable |= isinstance(error, Unreadable)
    if problems:
        raise (Unreadable if unreadable else ConfigError)(*problems)
    return MappingProxyType(policies)


class Policies:
    """The policies in force. A reload replaces all of them or none."""

    def __init__(
        self,
        folder: Path | None = None,
        needed: Iterable[str] = (),
        warnings: Callable[[PolicySet], Sequence[str]] = lambda changed: (),
    ) -> None:
        """The shipped policies, overlaid by those of `folder`; all of `needed` must be among them, also after each
        reload. `warnings` returns warnings about the policies that a reload has changed, one line each, for the log.
        Raises ConfigError."""
        self._warnings = warnings
        self.needed = frozenset(needed)
        self._folders = tuple(dict.fromkeys(path.absolute() for path in (shipped_folder(), folder) if path))
        self._stamp = self._check()
        self._unreadable = False  # whether a file may become readable without a change
        self.current: PolicySet = self._load()
        self.problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Policies({', '.join(self.current)}; {len(self.problems)} problems)"

    def __getstate__(self) -> dict[str, Any]:
        """For a worker. A read-only view cannot be pickled, what it shows can."""
        return {**vars(self), "current": dict(self.current)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, current=MappingProxyType(state["current"]))

    def reload(self) -> bool:
        """Reads the folders again. On an error, returns False, keeps the old set and sets `problems`."""
        self._stamp = self._check()
        before = self.current
        try:
            self.current = self._load()
        except ConfigError as error:
            if error.problems != self.problems:
                _log.error("policies not reloaded, the old ones stay in force:\n%s", error)
            self.problems = error.problems
            self._unreadable = isinstance(error, Unreadable)
            return False
        self.problems, self._unreadable = (), False
        _log.info("policies in force: %s", _changes(before, self.current))
        self._log_warnings({name: policy for name, policy in self.current.items() if before.get(name) != policy})
        return True

    def _log_warnings(self, changed: PolicySet) -> None:
        warnings = self._warnings(changed)
        if warnings:
            left = len(warnings) - MOST_WARNINGS
            more = [f"and {left} more; see `gateway check`"] if left > 0 else []
            _log.warning("policies to check:\n%s", "\n".join([*warnings[:MOST_WARNINGS], *more]))

    async def watch(self, on_result: Callable[[bool], None], conditions: Conditions) -> None:
        """Reloads after every change, until cancelled; `on_result` gets each return value of `reload`.

        It polls, because not every file system sends events. A change counts once two checks agree, because editors
        write a file in several steps. A failed check changes nothing.
        """
        seen, checks = self._stamp, 0
        while True:
            await asyncio.sleep(CHECK_EVERY)
            checks += 1
            with conditions.noted("policies"):
                before, seen = seen, await asyncio.to_thread(self._check)  # a network file system may be slow
                if before == seen != self._stamp or (self._unreadable and checks >= RETRY_AFTER):
                    checks = 0
                    on_result(await asyncio.to_thread(self.reload))

    def _load(self) -> PolicySet:
        policies: dict[str, Policy] = {}
        problems: list[str] = []
        unreadable = False
        for folder in self._folders:
            try:
                policies |= load_folder(folder)
            except ConfigError as error:
                problems.extend(error.problems)
                unreadable |= isinstance(error, Unreadable)
        if not problems:  # an invalid file has its own messages
            missing = sorted(self.needed - policies.keys())
            problems = [f"policy `{name}` is a default in gateway.yaml; put {name}.yaml back" for name in missing]
        if problems:
            raise (Unreadable if unreadable else ConfigError)(*problems)
        return MappingProxyType(policies)

    def _check(self) -> _Stamps:
        """Stamps of the files in the folders, links followed. A missing folder has none. Raises OSError."""
        return frozenset((path, stamp(path)) for folder in self._folders for path in _files_if_any(folder))


def _changes(before: PolicySet, after: PolicySet) -> str:
    """A summary of a reload, for the log."""
    changed = [
        f"{name} {'changed' if name in before else 'added'}" for name in after if before.get(name) != after[name]
    ]
    changed += [f"{name} removed" for name in before if name not in after]
    return ", ".join(changed) or "unchanged"


def _files(folder: Path) -> list[Path]:
    """The `*.yaml` and `*.yml` of a folder in their order. Raises OSError, where `glob` may return nothing."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return sorted(folder / name for name in names if name.endswith(".yml") or fnmatch(name, "[!.]*.yaml"))


def _files_if_any(folder: Path) -> list[Path]:
    try:
        return _files(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _reason(error: OSError) -> str:
    return "is not a folder" if isinstance(error, FileNotFoundError | NotADirectoryError) else f"{error.strerror}"
