"""Set the scene: one server, one runner, a relay before each kind of client, and all of it can be harmed and replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from bench.processes import Program, Troupe
from client.reach import profile_of
from server.site import Site
from transom_client import Profile

from chaos.relay import Relay
from chaos.starts import StartLog
from chaos.verdict import Process, descendants

PLUGIN = Path(__file__).resolve().parent / "plugins" / "chaos_plugin"
BEATS_S = 0.5
DEAD_AFTER_S = 2.0
READY_WITHIN_S = 30.0
RUNNERS = ("runner", "runner2")
"""Certificates of two runners, which take turns when one is upgraded."""


class Theatre(Site):
    """Everything that runs, as processes of their own but for the relays and the log of starts."""

    def __init__(self, folder: Path, troupe: Troupe, starts: StartLog) -> None:
        super().__init__(folder / "state")
        self.issue("runner2", "runner/0123456789abcdef")
        self.starts = starts
        self.seen: set[Process] = set()
        """Every process that was ever below the server or a runner."""
        self.up = asyncio.Event()
        """Whether there is a server: a caller need not try before."""
        self.up.set()
        self._troupe = troupe
        self._identity = RUNNERS[0]
        self.server: Program
        self.runner: Program
        self.runner_relay: Relay
        self.caller_relay: Relay
        (folder / "server.toml").write_text(f"heartbeat_every_s = {BEATS_S}\ndead_after_s = {DEAD_AFTER_S}\n", "utf-8")
        self._server_config = folder / "server.toml"

    # The server.

    async def start_server(self) -> None:
        """Start the server; the second time at the same port."""
        arguments = ("run", "--state", str(self.state), "--config", str(self._server_config), "--port", str(self.port))
        self.server = self._troupe.start("server", "-m", "transom_server", *arguments, "--exit-with-parent", hear="stderr")
        self.found_at((await heard(self.server, "server.ready"))["port"])

    async def kill_server(self) -> None:
        """Kill the server, and start another."""
        kill(self.server)
        await self.start_server()
        self.look()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Tell callers that there is no server for now."""
        self.up.clear()
        try:
            yield
        finally:
            self.up.set()

    # The runner.

    async def start_runner(self) -> None:
        """Start a runner that speaks through the relay."""
        files = self.tls(self._identity)
        settings: dict[str, object] = {
            "endpoint": f"127.0.0.1:{self.runner_relay.port}",
            "plugins": ["chaos"],
            "plugin_paths": [str(PLUGIN)],
        }
        settings |= {"ca": str(files.ca), "certificate": str(files.certificate), "key": str(files.key), "attempts": 4}
        config = self.state / f"{self._identity}.toml"
        # A JSON string, or a list of them, is TOML as well.
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()), "utf-8")
        arguments = ("run", "--config", str(config), "--exit-with-parent")
        self.runner = self._troupe.start("runner", "-m", "transom_runner", *arguments, hear="stderr")
        await heard(self.runner, "session.opened")
        self.look()

    async def hear_runner(self, event: str) -> None:
        """Wait until the runner logs an event."""
        await heard(self.runner, event)

    async def kill_runner(self) -> None:
        """Kill the daemon, and start another."""
        self.look()
        kill(self.runner)
        await self.start_runner()

    async def upgrade_runner(self) -> None:
        """Start a second runner, and ask the first to finish what it has and leave."""
        self.look()
        old, self._identity = self.runner, RUNNERS[1 - RUNNERS.index(self._identity)]
        await self.start_runner()
        os.kill(old.pid, signal.SIGTERM)
        await heard(old, "runner.stopped")

    # Everything.

    def look(self) -> None:
        """Remember every process that there is now."""
        self.seen |= descendants([program.pid for program in (self.server, self.runner) if program.alive])

    def profiles(self) -> list[Profile]:
        """Name the ways to the server: at once, and through a relay."""
        return [profile_of(self), profile_of(self, port=self.caller_relay.port)]


def kill(program: Program) -> None:
    """End a process without a warning."""
    os.kill(program.pid, signal.SIGKILL)
    program.end()


async def heard(program: Program, event: str) -> dict[str, Any]:
    """Wait until a process logs an event."""
    return await asyncio.to_thread(program.hear, event, READY_WITHIN_S)


@asynccontextmanager
async def theatre(folder: Path) -> AsyncIterator[Theatre]:
    """Start everything, and end it whatever happens."""
    with Troupe() as troupe, StartLog() as starts:
        stage = Theatre(folder, troupe, starts)
        await stage.start_server()
        async with Relay(stage.port) as stage.runner_relay, Relay(stage.port) as stage.caller_relay:
            await stage.start_runner()
            try:
                yield stage
            finally:
                stage.look()
