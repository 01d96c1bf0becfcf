"""Open a client for a command: the profile that was asked for, and one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from transom_client.client import Client

T = TypeVar("T")


def with_client(work: Callable[[Client], Awaitable[T]]) -> T:
    """Run `work` with an open client. Ctrl-C cancels it; it may still clean up, and then KeyboardInterrupt is raised."""

    async def run() -> T:
        async with Client(chosen_profile()) as client:
            return await work(client)

    return asyncio.run(run())


def chosen_profile() -> str | None:
    """Return the profile that `--profile` names."""
    chosen = click.get_current_context().find_root().obj
    return chosen if isinstance(chosen, str) else None


def keep_profile(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    """Note `--profile` where it stands behind the command's name."""
    if value is not None:
        ctx.find_root().obj = value


profile_option = click.option(
    "--profile", metavar="NAME", expose_value=False, callback=keep_profile, help="Profile to use (default: TRANSOM_PROFILE, else dev)."
)
