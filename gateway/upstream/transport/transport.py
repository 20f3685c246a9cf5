"""The gateway's own HTTP/1.1 client: callbacks on sockets, a pool per origin, no task for a kept connection.

    Address.send, Transport.send ──> Connection.send                           kept: written before `send` returns
                                 ──> Pool.send ──> task ──> Connection.send    new: connected, then written

It has no JSON, no SSE and no retries of the exchange: it sends one request and reports how the answer ended. It repeats
only one kind of request, once: one on a stale connection, that is a kept connection lost within a second of the request
and before a byte of the answer. After a longer wait the host may have worked on the request, and bill it. HEAD and
CONNECT are not supported, as their answers are framed differently. Redirects are not followed.
"""

from gateway.upstream.transport.connection import Call, Receiver
from gateway.upstream.transport.pool import Keep, Origin, Pool
from gateway.upstream.transport.tls import Trust

__all__ = ["Call", "Origin", "Receiver", "Transport"]


class Transport:
    """Sends requests. One for the whole gateway, used from one event loop.

    Args:
        idle: seconds that an unused connection is kept.
        lifetime: maximum age in seconds, so that DNS changes are followed.
        max_idle: unused connections kept per origin.
        trust: the TLS context; by default it trusts the system's authorities.
    """

    def __init__(
        self,
        *,
        idle: float = 30.0,
        lifetime: float = 600.0,
        max_idle: int = 64,
        trust: Trust | None = None,
    ) -> None:
        self._keep = Keep(idle, lifetime, max_idle)
        self._trust = trust or Trust()
        self._pools: dict[Origin, Pool] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Transport {list(self._pools.values())}>"

    def send(self, origin: Origin, head: bytes, body: bytes, receiver: Receiver, connect_timeout: float) -> Call:
        """Sends a request. The receiver is never called before this returns.

        Args:
            head: request line and headers, up to and including the blank line.
            connect_timeout: seconds for DNS, TCP and TLS together, where a connection must be opened.
        """
        pool = self.pool(origin)
        call = Call(pool, head, body, receiver, connect_timeout)
        pool.take().send(call)
        return call

    def pool(self, origin: Origin) -> Pool:
        """The connections to this origin. It may be used until it is `dropped`."""
        return self._pools.get(origin) or self._add(origin)

    def close(self) -> None:
        """Closes every connection. Calls under way are lost; later ones are refused."""
        self._closed = True
        for pool in list(self._pools.values()):
            pool.close()

    def _add(self, origin: Origin) -> Pool:
        """Adds a pool for a new origin, and drops pools without connections."""
        for other, unused in list(self._pools.items()):
            if unused.empty:
                unused.dropped = True
                del self._pools[other]
        pool = self._pools[origin] = Pool(origin, self._keep, self._trust)
        if self._closed:
            pool.close()
        return pool
