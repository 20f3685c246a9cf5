"""Ports of this machine, picked by the kernel."""

import socket
import sys

_held: list[socket.socket] = []


def free_port() -> int:
    """A port on which nothing listens, and that no other process of this machine is given while this one lives.

    A socket that is bound and does not listen holds it: connections are refused, the kernel gives the port to no
    other socket, and on Linux a server that sets SO_REUSEADDR, as servers do, can still listen there.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    if sys.platform == "linux":
        _held.append(holder)
        return int(holder.getsockname()[1])
    with holder:
        return int(holder.getsockname()[1])
