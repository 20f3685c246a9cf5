"""What the handlers of all APIs are made of."""

from gateway.api.parse import Intake
from gateway.proxy.proxy import Proxy


class Entrance:
    """A way in: `_intake` reads requests, `_proxy` plans and serves them."""

    __slots__ = ("_intake", "_proxy")

    def __init__(self, proxy: Proxy, intake: Intake) -> None:
        self._proxy = proxy
        self._intake = intake
