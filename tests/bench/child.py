"""What every program of the benchmark does on its own side: speak in JSON lines, and end with its input."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

if TYPE_CHECKING:
    from transom_wire.credentials import TlsFiles


def say(event: str, **fields: Any) -> None:
    """Print a JSON line."""
    print(json.dumps({"event": event, **fields}), flush=True)


async def questions() -> AsyncIterator[dict[str, Any]]:
    """Yield what the benchmark asks, until it closes our standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def end_of_input() -> None:
    """Wait until the benchmark closes our standard input."""
    async for _ in questions():
        pass


def tls(state: Path, who: str) -> TlsFiles:
    """Name the certificate files of `client`, `runner` or `server` in a state folder."""
    # Late, since the programs of peers have nothing of ours to import.
    from transom_wire.credentials import TlsFiles

    return TlsFiles(ca=state / "ca.pem", certificate=state / f"{who}.pem", key=state / f"{who}.key")


async def until_end_of_input(*work: Coroutine[Any, Any, None]) -> None:
    """Work until the benchmark closes our standard input; a piece of work that fails is an error at once."""
    tasks = [asyncio.create_task(one) for one in work]
    ended = asyncio.create_task(end_of_input())
    try:
        await asyncio.wait((ended, *tasks), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in (ended, *tasks):
            task.cancel()
        await asyncio.gather(ended, *tasks, return_exceptions=True)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a program with uvloop, which every side of every comparison uses."""
    uvloop.run(main)
