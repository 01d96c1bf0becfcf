"""A server and a runner in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from server.world import World

from runner.workshop import running


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state") as world:
        yield world


@pytest.fixture
async def site(world: World) -> AsyncIterator[World]:
    """A server with the runner that offers the naughty plugin."""
    async with running(world):
        yield world
