"""Run the command line as a process, as people do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from server.site import WITHIN_S
from server.world import World
from transom_client import Profile
from transom_client import profile as profiles

from client.reach import profile_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str


def use(world: World, token: str | None = None) -> Profile:
    """Make the test's server the one that commands talk to."""
    profile = profile_of(world, token)
    profiles.save("test", profile)
    os.environ["TRANSOM_PROFILE"] = "test"
    return profile


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "transom_client", *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        # Its pipes are closed by what reads them to their end.
        await process.communicate()


async def transom(*arguments: str, given: bytes = b"") -> Ran:
    """Run a command to its end."""
    async with started(*arguments) as process, asyncio.timeout(3 * WITHIN_S):
        out, err = await process.communicate(given)
    assert process.returncode is not None
    return Ran(code=process.returncode, out=out.decode(), err=err.decode())
