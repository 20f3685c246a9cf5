"""A store behind Sentinels: the server that they name, which is looked up again for each connection.

Sentinels ──discover_master──> host and port of the master ──> StoreConnection
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio.client import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel

from gateway.config.store_address import Host, StoreAddress
from gateway.state.one_server import OneServer
from gateway.state.store_connection import StoreConnection, store_error
from gateway.state.store_error import ErrorReply, StoreError

SENTINEL_WITHIN = 0.25  # seconds for a reply of one Sentinel; then the next one is queried


class SentinelMaster(OneServer):
    """See `Topology`. The Sentinel that knew the master last is tried first. After an attempt that failed or was given
    up, the next one is: several that hang may together take longer than the caller waits."""

    def __init__(self, address: StoreAddress) -> None:
        super().__init__(address)
        self._sentinels: list[Host] = list(address.hosts)

    async def open(self, server: str) -> StoreConnection:
        options = await self._opener.options()
        master = await self._master(options)
        return await self._opener.open(master, options)

    async def _master(self, options: dict[str, Any]) -> Host:
        clients = {self._client(host, options): host for host in self._sentinels}
        self._sentinels = self._sentinels[1:] + self._sentinels[:1]
        sentinel = Sentinel([])  # type: ignore[no-untyped-call]
        sentinel.sentinels = list(clients)
        try:
            name, port = await sentinel.discover_master(self._address.master)
        except MasterNotFoundError:
            raise await self._reason(sentinel.sentinels) from None
        except Exception as error:  # redis-py raises others too for replies that it does not expect
            raise _explained(error) from None
        else:
            self._sentinels = [clients[client] for client in sentinel.sentinels]
        finally:
            await asyncio.gather(*(client.aclose(close_connection_pool=True) for client in clients))
        return Host(name, int(port))

    def _client(self, host: Host, options: dict[str, Any]) -> Redis:
        own = {
            "host": host.name,
            "port": host.port,
            "db": 0,
            "username": self._address.sentinel_user or None,
            "password": self._address.sentinel_password or None,
            "socket_timeout": SENTINEL_WITHIN,
            "socket_connect_timeout": SENTINEL_WITHIN,
        }
        return Redis(connection_pool=ConnectionPool(**{**options, **own}))

    async def _reason(self, sentinels: Sequence[Redis]) -> StoreError:
        """Why no master was found: redis-py does not say."""
        master, error = self._address.master, StoreError("no Sentinel replies")
        for sentinel in sentinels:
            try:
                known = await sentinel.sentinel_masters()
            except Exception as problem:
                error = _explained(problem)
                continue
            if master in known:
                return StoreError(f"the Sentinels know no working master {master} at the moment")
            return StoreError(
                f"the Sentinels have no master {master}, but {', '.join(sorted(map(str, known))) or 'none'}"
            )
        return StoreError(f"no Sentinel names the master: {error}")


def _explained(error: Exception) -> StoreError:
    explained = store_error(error)
    if isinstance(explained, ErrorReply) and explained.details.startswith("unknown command"):
        return StoreError(f"{explained} (the server is not a Sentinel: write redis:// in the store's URL)")
    return explained
