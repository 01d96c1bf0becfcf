"""One server and one runner as processes, for every test of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from transom_client.dev import DevServer


@asynccontextmanager
async def live(folder: Path, **settings: object) -> AsyncIterator[DevServer]:
    async with DevServer(folder / "state", server_log=folder / "server.log", runner_log=folder / "runner.log", **settings) as dev:  # type: ignore[arg-type]
        yield dev
