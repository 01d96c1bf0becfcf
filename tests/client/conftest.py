"""A real server in the test's own loop, and profiles and clients for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from server.world import World
from transom_client import Client

from client.reach import profile_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state") as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with Client(profile_of(world)) as client:
        yield client


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("TRANSOM_PROFILE", raising=False)
