"""Worlds that are at rest when their test is done."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.proxy.world import Make, World
from tests.support.host import ScriptedHost


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    worlds: list[World] = []

    def world(*hosts: ScriptedHost) -> World:
        worlds.append(World(tmp_path, *hosts))
        return worlds[-1]

    yield world
    for one in worlds:
        assert one.is_at_rest(), list(one.runtime.under_way)
        one.transport.close()
    await asyncio.sleep(0)
