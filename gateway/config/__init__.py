"""What operators tell the gateway: gateway.yaml, the environment and the catalogue of endpoints."""

from gateway.config.catalogue import CATALOG, hindrance, sufficient_variables, usable, wanted_variables
from gateway.config.keys import Key, KeyEntry, Secrets
from gateway.config.settings import GatewayFile, RedisEntry, Settings, load

__all__ = [
    "CATALOG",
    "GatewayFile",
    "Key",
    "KeyEntry",
    "RedisEntry",
    "Secrets",
    "Settings",
    "hindrance",
    "load",
    "sufficient_variables",
    "usable",
    "wanted_variables",
]
