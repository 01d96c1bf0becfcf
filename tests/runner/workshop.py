"""A real runner, in the test's own loop, beside a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.site import WITHIN_S, Site
from transom_runner.app import App
from transom_runner.config import Config

PLUGINS = Path(__file__).parent / "plugins"
NAUGHTY = str(PLUGINS / "naughty")


def config_of(site: Site, **settings: Any) -> Config:
    given: dict[str, Any] = {
        "endpoint": f"localhost:{site.port}", "ca": str(site.state / "ca.pem"), "certificate": str(site.state / "runner.pem"),
        "key": str(site.state / "runner.key"), "plugins": ["naughty"], "plugin_paths": [NAUGHTY],
    }  # fmt: skip
    return Config(**{**given, **settings})


@asynccontextmanager
async def running(site: Site, **settings: Any) -> AsyncIterator[App]:
    """Run a runner until the block ends. A run waits for it, so nobody else has to."""
    app = App(config_of(site, **settings))
    stop = asyncio.Event()
    task = asyncio.create_task(app.run(stop))
    try:
        yield app
    finally:
        stop.set()
        async with asyncio.timeout(WITHIN_S):
            await task
