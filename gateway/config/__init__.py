"""The operator's configuration: gateway.yaml, the environment and the catalogue of endpoints."""

from gateway.config.catalogue import CATALOG, sufficient_variables, usable, wanted_variables, why_unusable
from gateway.config.drain_settings import DrainSettings
from gateway.config.key_limits import LIMITS, NO_BOUNDS, Bounds, LimitName, LimitSettings, Scope
from gateway.config.keys import Key, KeyEntry, Secrets
from gateway.config.probes import ProbeSettings
from gateway.config.rules import Bound, Facts, Rule, When, policy_by_rule
from gateway.config.settings import (
    GatewayFile,
    LogFormat,
    PricesEntry,
    PriceSync,
    ProviderEntry,
    RedisEntry,
    Settings,
    load,
)

__all__ = [
    "CATALOG",
    "LIMITS",
    "NO_BOUNDS",
    "Bound",
    "Bounds",
    "DrainSettings",
    "Facts",
    "GatewayFile",
    "Key",
    "KeyEntry",
    "LimitName",
    "LimitSettings",
    "LogFormat",
    "PriceSync",
    "PricesEntry",
    "ProbeSettings",
    "ProviderEntry",
    "RedisEntry",
    "Rule",
    "Scope",
    "Secrets",
    "Settings",
    "When",
    "load",
    "policy_by_rule",
    "sufficient_variables",
    "usable",
    "wanted_variables",
    "why_unusable",
]
