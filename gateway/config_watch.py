"""Reads gateway.yaml again when it changes, or at SIGHUP. The configuration is replaced as a whole or not at all.

    gateway.yaml and the files that it names ──stamps──┐
    SIGHUP ── request_reload() ────────────────────────┴──> poll(): Configuration ──> every worker
                                                                └── RejectedConfig: the one in force stays

With several workers their supervisor polls, so that all of them get the same configuration, also those that start
later. It polls because not every file system sends events. Links are followed anew each time, as git-sync and
Kubernetes swap them.
"""

import logging
from dataclasses import replace
from pathlib import Path

from gateway.config.config_changes import changes, with_fixed
from gateway.config_source import ConfigSource
from gateway.configuration import Configuration, RejectedConfig
from gateway.errors import ConfigError, Unreadable
from gateway.files import Stamp, stamp

RETRY_AFTER = 10  # polls after which an unreadable file is read again, though it has not changed

_log = logging.getLogger("gateway")


class ConfigWatch:
    """`current` is the configuration in force, `problems` those of the file on disk."""

    def __init__(self, source: ConfigSource, current: Configuration, state: Path) -> None:
        """`state` is the state folder in use."""
        self.current = replace(current, settings=replace(current.settings, state=state))
        self.problems: tuple[str, ...] = ()
        self._source = source
        self._state = state
        self._started = current.settings
        self._stamps = self._seen = self._check()
        self._requested = False
        self._unreadable = 0  # polls since the file could not be read; 0: it could

    def __repr__(self) -> str:
        return f"<ConfigWatch of {len(self._files())} files, {len(self.problems)} problems>"

    def request_reload(self) -> None:
        """Makes the next poll read all files again, changed or not. Safe in a signal handler."""
        self._requested = True

    def poll(self) -> Configuration | RejectedConfig | None:
        """The news since the last poll. A change counts once two polls agree, because editors write a file in several
        steps."""
        before, self._seen = self._seen, self._check()
        if self._unreadable:
            self._unreadable += 1
        if not (self._requested or before == self._seen != self._stamps or self._unreadable > RETRY_AFTER):
            return None
        requested, self._requested = self._requested, False
        self._stamps, self._unreadable = self._seen, 0
        try:
            return self._read()
        except ConfigError as error:
            self._unreadable = int(isinstance(error, Unreadable))
            return self._rejected(error, requested)
        except Exception as error:  # a fault of ours must not end a gateway that serves
            _log.exception("the configuration was not read again")
            return self._rejected(ConfigError(f"internal error: {type(error).__name__}"), requested)

    def _read(self) -> Configuration:
        raw = self._source.settings()
        settings, fixed = with_fixed(raw, self._started)
        configuration = self._source.again(replace(settings, state=self._state))
        found = changes(self.current.settings, configuration.settings)
        if fixed:
            _log.warning("changed in the configuration, but in force only after a restart: %s", ", ".join(fixed))
        _log.info("configuration in force: %s", "; ".join(found) or "unchanged")
        self.current, self.problems = configuration, ()
        read = self._seen  # a file that changed since then is read again
        self._seen = self._stamps = {path: read.get(path, found) for path, found in self._check().items()}
        return configuration

    def _rejected(self, error: ConfigError, requested: bool) -> RejectedConfig | None:
        if error.problems == self.problems and not requested:
            return None
        _log.error("configuration not reloaded, the old one stays in force:\n%s", error)
        self.problems = error.problems
        return RejectedConfig(error.problems)

    def _files(self) -> tuple[Path, ...]:
        return self.current.settings.files

    def _check(self) -> dict[Path, Stamp]:
        return {path: _stamp(path) for path in self._files()}


def _stamp(path: Path) -> Stamp:
    """None also if the file cannot be looked at: the next poll tries again."""
    try:
        return stamp(path)
    except OSError:
        return None
