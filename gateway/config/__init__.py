"""What operators tell the gateway: gateway.yaml, the environment and the catalogue of endpoints."""

from gateway.config.catalogue import CATALOG, hindrance, sufficient_variables, usable, wanted_variables
from gateway.config.keys import Key, KeyEntry, Secrets
from gateway.config.rules import Bound, Facts, Rule, When, policy_by_rule
from gateway.config.settings import GatewayFile, RedisEntry, Settings, load

__all__ = [
    "CATALOG",
    "Bound",
    "Facts",
    "GatewayFile",
    "Key",
    "KeyEntry",
    "RedisEntry",
    "Rule",
    "Secrets",
    "Settings",
    "When",
    "hindrance",
    "load",
    "policy_by_rule",
    "sufficient_variables",
    "usable",
    "wanted_variables",
]
