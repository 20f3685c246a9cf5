"""The topology of a store, by its URL.

    find(address) ──> OneServer        redis://, rediss://, unix://
                  ──> SentinelMaster   redis+sentinel://: the master that the Sentinels name
                  ──> Cluster          redis+cluster://: the node that has the key's slot

redis-py makes the connections, asks Sentinels, and keeps a Cluster's table of slots. It is loaded with the first
connection, in a thread, so that neither the command line nor a start waits for it.
"""

import asyncio
import gc
from importlib import import_module
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from gateway.config.store_address import StoreAddress
from gateway.state.topology import Topology

if TYPE_CHECKING:
    from gateway.state.cluster import Cluster

_clusters: "WeakValueDictionary[tuple[asyncio.AbstractEventLoop, StoreAddress], Cluster]" = WeakValueDictionary()
_loaded = False


async def find(address: StoreAddress) -> Topology:
    """The topology of an address. In one process all users of a Cluster share its table of slots."""
    await _load()
    if address.kind == "cluster":
        from gateway.state.cluster import Cluster

        key = asyncio.get_running_loop(), address
        cluster = _clusters.get(key) or Cluster(address)
        _clusters[key] = cluster
        return cluster
    if address.kind == "sentinel":
        from gateway.state.sentinel_master import SentinelMaster

        return SentinelMaster(address)
    from gateway.state.one_server import OneServer

    return OneServer(address)


async def _load() -> None:
    global _loaded
    if not _loaded:
        await asyncio.to_thread(import_module, "gateway.state.store_connection")
        _loaded = True
        gc.freeze()  # its modules live as long as the worker: collections can skip them
