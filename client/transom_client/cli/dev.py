"""`transom dev`: a server and a runner on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import time
from pathlib import Path

import click

from transom_client import profile as profiles
from transom_client.cli.exits import UNAVAILABLE
from transom_client.dev import DevFailed, DevServer, default_state, fresh_token
from transom_client.profile import DEV

STATE_HELP = "The state folder (default: the user's own)."


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help=STATE_HELP)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the server; the system chooses by default.")
@click.pass_context
def dev(ctx: click.Context, state: Path | None, port: int) -> None:
    """Run a server and a runner on this machine until Ctrl-C, with certificates and tokens of their own."""
    if ctx.invoked_subcommand is None:
        ctx.exit(asyncio.run(_serve((state or default_state()).absolute(), port)))


@dev.command()
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help=STATE_HELP)
@click.pass_context
def token(ctx: click.Context, state: Path | None) -> None:
    """Print a fresh access token of the `transom dev` that runs."""
    assert ctx.parent is not None
    chosen = state or ctx.parent.params.get("state") or _live_state()
    try:
        endpoint = (chosen / "endpoint").read_text(encoding="utf-8").strip()
    except OSError:
        endpoint = ""
    if not endpoint or not profiles.reachable(endpoint):
        click.echo("error: `transom dev` does not run\nhint: start it in another terminal", err=True)
        ctx.exit(UNAVAILABLE)
    click.echo(asyncio.run(fresh_token(chosen)))


def _live_state() -> Path:
    """Return the state folder that the `dev` profile points to, else the default one."""
    with contextlib.suppress(profiles.ProfileError):
        return Path(profiles.load(DEV).ca).parent
    return default_state()


async def _serve(state: Path, port: int) -> int:
    stop = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # not every system's loop has signals; Ctrl-C cancels us there
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began = time.monotonic()
    click.echo("starting a server and a runner ...", err=True)
    starting = asyncio.create_task(_started(state, port), name="dev start")
    stopping = asyncio.create_task(stop.wait(), name="dev stop")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        return 0
    stopping.cancel()
    server = await starting
    try:
        _greet(server, state, time.monotonic() - began)
        return await _until(stop, server)
    finally:
        click.echo("stopping ...", err=True)
        await server.close()


async def _started(state: Path, port: int) -> DevServer:
    server = DevServer(state, port=port, server_log=state / "server.log", runner_log=state / "runner.log", profile=DEV)
    return await server.__aenter__()


async def _until(stop: asyncio.Event, server: DevServer) -> int:
    asked = asyncio.create_task(stop.wait(), name="dev stop")
    ended = asyncio.create_task(server.wait(), name="dev watch")
    try:
        await asyncio.wait((asked, ended), return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return 0
        child = await ended
        raise DevFailed(f"the {child.name} ended by itself; see {child.name}.log in the state folder")
    finally:
        asked.cancel()
        ended.cancel()


def _greet(server: DevServer, state: Path, took_s: float) -> None:
    chosen = "" if state == default_state().absolute() else f" --state {shlex.quote(str(state))}"
    files = server.tls
    certificates = " ".join(
        f"-{option} {shlex.quote(str(path))}" for option, path in (("cacert", files.ca), ("cert", files.certificate), ("key", files.key))
    )
    bearer = f'-H "authorization: Bearer $(transom dev token{chosen})"'
    click.echo(f"ready after {took_s:.1f} s at {server.endpoint}, state in {state}")
    click.echo("\nTry in another terminal:\n")
    click.echo("  transom actions list")
    click.echo("  transom process document.pdf")
    click.echo(f"  grpcurl {certificates} {bearer} {server.endpoint} transom.plugins.v1.ActionService/ListActions")
    click.echo("\nCtrl-C stops both.")
