"""Keep the log of starts: every call of the plugin says so here before it does anything, and waits for our word."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A call of the plugin that has begun."""

    submission: int
    pid: int
    template: int
    address: bytes


class StartLog:
    """A socket outside, to which workers tell that they have begun."""

    def __init__(self) -> None:
        self.name = f"transom-chaos-{secrets.token_hex(8)}"
        self.starts: list[Start] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._victim: asyncio.Future[Start] | None = None

    def __enter__(self) -> Self:
        self._socket.bind("\0" + self.name)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = self._socket.recvfrom(4096)
                start = Start(**json.loads(data), address=address)
                self.starts.append(start)
                if self._victim is not None and not self._victim.done():
                    self._victim.set_result(start)
                else:
                    self.let_go(start)

    def let_go(self, start: Start) -> None:
        """Let a call go on; it may be dead by now."""
        with contextlib.suppress(OSError):
            self._socket.sendto(b"go", start.address)

    async def victim(self, within_s: float) -> Start:
        """Wait for the next start, and keep that call waiting until `let_go`."""
        self._victim = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within_s):
                return await self._victim
        finally:
            self._victim = None
