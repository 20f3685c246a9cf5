"""Async tests of a module that says `LOOPS = {name: factory}` run once on each of those event loops."""

import asyncio
from collections.abc import Callable, Mapping

import pytest


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    assert isinstance(item, pytest.Function)
    return getattr(item.module, "LOOPS", {"asyncio": asyncio.new_event_loop})
