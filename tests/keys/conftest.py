"""The store of these tests is other tests' store, too."""

from collections.abc import Iterator

import pytest
import redis


@pytest.fixture(autouse=True)
def _no_keys_are_left(valkey: str) -> Iterator[None]:
    """A gateway that finds a virtual key in its store wants one."""
    yield
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
