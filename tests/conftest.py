"""What holds for all tests."""

import os
import signal
import ssl
import sys
from functools import lru_cache

from hypothesis import HealthCheck, settings

from gateway.document import node
from gateway.keys import limiter
from gateway.state import cluster, embedded, lane, link, sentinel_master, store
from gateway.upstream.transport.tls import Trust

pytest_plugins = [
    "tests.support.gateway",
    "tests.support.programs",
    "tests.support.valkey",
    "tests.proxy.routed",
]

# Bytecode is kept, also where the environment says otherwise: tests start hundreds of processes, each of which would
# compile all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No test fails by chance, or by the clock: a busy machine makes examples slowly.
settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")

# A shell starts what runs in the background deaf to Ctrl-C, and nohup to SIGHUP; children inherit that, unless there is
# a handler, and tests send both to them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, lambda *_: None)

# A store that a busy machine makes slow is none that is down. Tests of one that is silent set their own.
store.REPLY_WITHIN = lane.REPLY_WITHIN = lane.FLUSH_WITHIN = link.REPLY_WITHIN = 30.0  # before their readers
limiter.REPLY_WITHIN = 30.0  # of shares of limits
cluster.NODE_WITHIN = sentinel_master.SENTINEL_WITHIN = 30.0
embedded.READY_WITHIN = embedded.STOPPED_WITHIN = 30.0

# What each gateway reads at its start takes 50 ms of every such test: most of it for documents that are the same, and
# for public authorities, none of which vouches for a host of the tests. What a test names is read.
node.parse = lru_cache(64)(node.parse)
_load_default_certs, _named = Trust.load_default_certs, os.environ.get("SSL_CERT_FILE")


def _load_what_a_test_names(self: Trust, *arguments: ssl.Purpose) -> None:
    if os.environ.get("SSL_CERT_FILE") != _named:
        _load_default_certs(self, *arguments)


Trust.load_default_certs = _load_what_a_test_names  # type: ignore[assignment]
