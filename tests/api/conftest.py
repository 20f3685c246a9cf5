"""Gateways over scripted hosts, as the proxy's tests have them, and a store."""

from tests.proxy.routed import routed
from tests.support.valkey import valkey

__all__ = ["routed", "valkey"]
