"""A server in a process of its own, as an operator starts it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.site import WITHIN_S, Site

EVENTS_AT_MOST = 1000


class ServerProcess(Site):
    """`python -m transom_server run` and what it logs."""

    def __init__(self, state: Path, process: asyncio.subprocess.Process) -> None:
        super().__init__(state)
        self.process = process
        self.lines: list[str] = []

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for a line of the log with this event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(WITHIN_S):
            async for line in self.process.stderr:
                self.lines.append(line.decode())
                if f'"event": "{name}"' in self.lines[-1]:
                    found: dict[str, Any] = json.loads(self.lines[-1])
                    return found
        raise AssertionError(f"the log ended before {name}: {self.lines}")

    async def end(self) -> int:
        """Wait for the end of the process; returns its exit code."""
        async with asyncio.timeout(WITHIN_S):
            assert self.process.stderr is not None
            self.lines += (await self.process.stderr.read()).decode().splitlines(keepends=True)
            return await self.process.wait()


async def command(*arguments: str, **streams: Any) -> asyncio.subprocess.Process:
    streams = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE, **streams}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "transom_server", *arguments, **streams)


@asynccontextmanager
async def server_process(state: Path, *arguments: str, settings: str = "") -> AsyncIterator[ServerProcess]:
    """Start a server on a free port, and end it by force when the test left it running."""
    Site(state)  # makes the trust domain
    config = state.with_suffix(".toml")
    config.write_text(settings)
    process = await command("run", "--state", str(state), "--port", "0", "--config", str(config), *arguments)
    server = ServerProcess(state, process)
    try:
        ready = await server.event("server.ready")
        server.found_at(ready["port"])
        yield server
    finally:
        await server.close_channels()
        if process.returncode is None:
            process.kill()
            await process.communicate()
