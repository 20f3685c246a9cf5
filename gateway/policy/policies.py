"""A folder of policies: loaded whole, replaced whole.

shipped policies --+
user's folder -----+--overlay by name--> PolicySet --reload--> the next one, or none when a file is broken

The folder, or what is in it, may be links that are swapped, as git-sync and Kubernetes do: they are followed anew at
each look.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import gateway
from gateway.document import read
from gateway.errors import ConfigError, Unreadable
from gateway.policy.schema import read_policy
from gateway.state.conditions import Conditions
from gateway.types import Policy

PolicySet: TypeAlias = Mapping[str, Policy]  # by name; read-only

MOST_DOUBTS = 10  # lines that one reload logs
LOOK_EVERY = 0.25  # seconds; a look at the shipped folder takes 0.1 ms
AGAIN = 20  # looks until what could not be read is read again, though nothing has changed

_log = logging.getLogger(__name__)
_Stamp: TypeAlias = frozenset[tuple[str, int, int, int, int, int]]


def shipped_folder() -> Path:
    """The policies that come with the gateway: inside the wheel, or beside the package in a source checkout."""
    package = Path(gateway.__file__).parent
    inside = package / "policies"
    return inside if inside.is_dir() else package.parent / "policies"


def load_folder(folder: Path) -> PolicySet:
    """Every `*.yaml` of `folder` by its name. Raises ConfigError with the problems of all files, as Unreadable where
    one of them could not be read.
    """
    problems: list[str] = []
    policies: dict[str, Policy] = {}
    unreadable = False
    try:
        paths = _files(folder)
    except OSError as error:
        raise Unreadable(f"{folder}: {_words(error)}; give the folder that holds the policy files") from None
    for path in paths:
        if path.suffix == ".yml":
            problems.append(f"{path}: is not read; name it {path.stem}.yaml")
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
    """The policies in force. A reload takes the whole folder or nothing."""

    def __init__(
        self,
        folder: Path | None = None,
        needed: Iterable[str] = (),
        doubts: Callable[[PolicySet], Sequence[str]] = lambda changed: (),
    ) -> None:
        """The shipped policies with those of `folder` over them; all of `needed` must be there. `doubts` tells what is
        doubtful about policies that a reload has changed, one line each, for the log. Raises ConfigError."""
        self._doubts = doubts
        self._needed = frozenset(needed)
        self._folders = tuple(dict.fromkeys(path.absolute() for path in (shipped_folder(), folder) if path))
        self._stamp = self._look()
        self._unreadable = False  # a file that may be readable later, though it does not change
        self.current: PolicySet = self._load()
        self.problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Policies({', '.join(self.current)}; {len(self.problems)} problems)"

    def reload(self) -> bool:
        """Reads the folders again. False keeps the old set in force and says why in `problems`."""
        self._stamp = self._look()
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
        self._tell_doubts({name: policy for name, policy in self.current.items() if before.get(name) != policy})
        return True

    def _tell_doubts(self, changed: PolicySet) -> None:
        doubts = self._doubts(changed)
        if doubts:
            more = [f"and {len(doubts) - MOST_DOUBTS} more; see `gateway check`"] if len(doubts) > MOST_DOUBTS else []
            _log.warning("policies to look at:\n%s", "\n".join([*doubts[:MOST_DOUBTS], *more]))

    async def watch(self, on_result: Callable[[bool], None], conditions: Conditions) -> None:
        """Reloads after every change, until cancelled; `on_result` gets what each `reload` returned.

        It looks instead of waiting for events, which not every file system sends. A change counts once two looks
        agree, because editors write a file in several steps. A look that fails changes nothing.
        """
        seen, looks = self._stamp, 0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            looks += 1
            with conditions.noted("policies"):
                before, seen = seen, await asyncio.to_thread(self._look)  # a folder on the network may be slow
                if before == seen != self._stamp or (self._unreadable and looks >= AGAIN):
                    looks = 0
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
        if not problems:  # a broken file explains itself
            missing = sorted(self._needed - policies.keys())
            problems = [f"policy `{name}` is a default in gateway.yaml; put {name}.yaml back" for name in missing]
        if problems:
            raise (Unreadable if unreadable else ConfigError)(*problems)
        return MappingProxyType(policies)

    def _look(self) -> _Stamp:
        """What the folders hold, links followed. A folder that is not there holds nothing. Raises OSError."""
        return frozenset(stamp for folder in self._folders for path in _there(folder) if (stamp := _stamp(path)))


def _changes(before: PolicySet, after: PolicySet) -> str:
    """What a reload came to, in words."""
    told = [f"{name} {'changed' if name in before else 'added'}" for name in after if before.get(name) != after[name]]
    told += [f"{name} removed" for name in before if name not in after]
    return ", ".join(told) or "as before"


def _files(folder: Path) -> list[Path]:
    """The `*.yaml` and `*.yml` of a folder in their order. Raises OSError, where `glob` may find nothing."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return sorted(folder / name for name in names if name.endswith(".yml") or fnmatch(name, "[!.]*.yaml"))


def _there(folder: Path) -> list[Path]:
    try:
        return _files(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stamp(path: Path) -> tuple[str, int, int, int, int, int] | None:
    """Other where a file is another or has another content, its time and size kept. Raises OSError."""
    try:
        facts = path.stat()
    except FileNotFoundError:  # gone since it was listed
        return None
    return str(path), facts.st_dev, facts.st_ino, facts.st_ctime_ns, facts.st_mtime_ns, facts.st_size


def _words(error: OSError) -> str:
    return "is no folder" if isinstance(error, FileNotFoundError | NotADirectoryError) else f"{error.strerror}"
