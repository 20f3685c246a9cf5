"""Gateways over scripted hosts, as the proxy's tests have them."""

from tests.proxy.routed import routed

__all__ = ["routed"]
