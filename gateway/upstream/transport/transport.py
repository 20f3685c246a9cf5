"""Our own HTTP/1.1 client: callbacks on sockets, a pool per origin, no task on a kept connection.

    send -> Pool.take  -> Connection.ask          (kept: written before `send` returns)
         -> Pool.open  -> task -> Connection.ask  (fresh: connect, then written)

It knows no JSON, no SSE, no retries of ours: it moves one request's bytes and says how the answer ended. The single
thing that it repeats, once, is a request on a kept connection that was lost within a second of it, before a byte of an
answer: then the host had closed it before. After a longer wait the host may have worked on the request, and bill it.
Requests with HEAD or CONNECT are not supported, as their answers are framed differently. No redirect is followed.
"""

from gateway.upstream.transport.connection import Call, Receiver
from gateway.upstream.transport.pool import Keep, Origin, Pool
from gateway.upstream.transport.tls import Trust

__all__ = ["Call", "Origin", "Receiver", "Transport"]


class Transport:
    """Sends requests. One for the whole gateway, used from one event loop.

    Args:
        idle: seconds that an unused connection is kept.
        lifetime: seconds after which a connection is not used again, so that DNS changes are followed.
        max_idle: unused connections kept per origin.
        trust: whose certificates are good; the system's by default.
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
        """Send a request; the receiver is never called before this returns.

        Args:
            head: all of the request's head, from the request line to the blank line.
            connect_timeout: seconds for DNS, TCP and TLS together, where a connection must be made.
        """
        pool = self._pools.get(origin) or self._add(origin)
        call = Call(pool, head, body, receiver, connect_timeout)
        connection = pool.take()
        if connection is not None:
            connection.ask(call)
        else:
            pool.open(call)
        return call

    def close(self) -> None:
        """Close every connection. Calls under way are lost; later ones are refused."""
        self._closed = True
        for pool in list(self._pools.values()):
            pool.close()

    def _add(self, origin: Origin) -> Pool:
        """A pool for a new origin, in place of those that nobody uses any more."""
        self._pools = {other: pool for other, pool in self._pools.items() if not pool.empty}
        pool = self._pools[origin] = Pool(origin, self._keep, self._trust)
        if self._closed:
            pool.close()
        return pool
