"""Where the configuration of `gateway serve` comes from: its file, the environment and the flags of the command line.

first()  at the start       again()  at a reload, with the verdict of `gateway check`
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.config import Settings, load, sufficient_variables
from gateway.config_check import check_config, idle_keys
from gateway.configuration import Configuration, configured
from gateway.errors import ConfigError
from gateway.keys.key_file import KeyFile
from gateway.state.folder import StateFolder


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """`given` are settings of the command line, which override the others; `redis` is the store's URL, as
    GATEWAY_REDIS_URL; `no_auth`: it may listen beyond loopback without keys."""

    path: Path | None = None
    redis: str | None = field(default=None, repr=False)
    given: Mapping[str, Any] = field(default_factory=dict)
    no_auth: bool = False

    def settings(self) -> Settings:
        """As they are now. Raises ConfigError."""
        environ = os.environ | ({"GATEWAY_REDIS_URL": self.redis} if self.redis else {})
        return self._with_required_keys(replace(load(self.path, environ), **self.given))

    def first(self) -> Configuration:
        """The configuration to start with. Raises ConfigError."""
        settings = self.settings()
        configuration = configured(settings)
        _raise(_unserved(configuration.settings))
        return configuration

    def again(self, settings: Settings) -> Configuration:
        """The configuration of these settings, if `gateway check` finds no mistake. Raises ConfigError."""
        configuration = configured(settings)
        found = check_config(configuration.settings, configuration.policies.current)
        _raise(iter((*_unserved(configuration.settings), *found.problems)))
        return configuration

    def _with_required_keys(self, settings: Settings) -> Settings:
        """Beyond loopback a key is required unless the operator says otherwise. With an admin key, or if there are
        virtual keys, none need be in the configuration."""
        if settings.is_local or settings.keys or self.no_auth:
            return settings
        if settings.admin is None and not KeyFile(StateFolder(settings.state).path).read():
            raise ConfigError(
                f"listening on {settings.host} without keys would let anyone spend your money; "
                "set GATEWAY_API_KEYS or `keys:`, create one with `gateway keys create`, or pass --no-auth"
            )
        return replace(settings, keys_required=True)


def _unserved(settings: Settings) -> Iterator[str]:
    if not settings.in_use:
        names = ", ".join(sufficient_variables(settings.models)) or "the variables named by its endpoints"
        yield f"no endpoint can be used; set at least one of {names}, or try `gateway demo`"
        yield from idle_keys(settings.models, os.environ)


def _raise(problems: Iterator[str]) -> None:
    if found := list(problems):
        raise ConfigError(*found)
