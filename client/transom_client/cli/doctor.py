"""`transom doctor`: check, step by step, what is needed to process a document, and say what to do next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import click
from transom_wire.errors import TransomError

from transom_client import profile as profiles
from transom_client.cli.exits import AUTH, FAILED, UNAVAILABLE, USAGE, code_of
from transom_client.cli.opening import chosen_profile, profile_option
from transom_client.client import DEFAULT_ACTION, Client
from transom_client.profile import DEV, Profile, ProfileError
from transom_client.records import Action, Runner
from transom_client.states import RunnerStatus
from transom_client.tokens import expires_at


class Unwell(Exception):
    """A check failed; carries what to do next and the exit code."""

    def __init__(self, message: str, hint: str, code: int) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


@click.command()
@profile_option
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Check profile, connection, token and runners, and say what to do next."""
    try:
        for found in _checks(chosen_profile()):
            click.echo(f"ok     {found}")
    except Unwell as unwell:
        click.echo(f"failed {unwell}")
        click.echo(f"next:  {unwell.hint}")
        ctx.exit(unwell.code)
    click.echo("next:  transom process FILE")


def _checks(asked: str | None) -> Iterator[str]:
    name, profile = _profile(asked)
    yield f"profile {name}"
    yield _files(profile)
    if not profiles.reachable(profile.endpoint):
        next_step = "start `transom dev`" if name == DEV else "check that the server runs, and the profile's `endpoint`"
        raise Unwell(f"nothing listens at {profile.endpoint}", next_step, UNAVAILABLE)
    yield f"something listens at {profile.endpoint}"
    try:
        runners, actions = asyncio.run(_ask(profile))
    except TransomError as error:
        message, _, hint = error.message.partition("; ")
        raise Unwell(message, hint or "get a token or certificate that this server takes", code_of(error)) from None
    yield "the server accepts certificate and token"
    connected = [runner for runner in runners if runner.status is RunnerStatus.CONNECTED]
    if not connected:
        raise Unwell("no runner is connected", "start one: `transom-runner run --config FILE`, or `transom dev`", FAILED)
    yield f"{len(connected)} runner{'s' if len(connected) > 1 else ''} connected, offering {len(actions)} actions"
    if not any(action.name == DEFAULT_ACTION for action in actions):
        raise Unwell(
            f"no runner offers {DEFAULT_ACTION}", "install transom-plugin-pdf and transom-plugin-tesseract beside the runner", FAILED
        )
    yield f"{DEFAULT_ACTION} is offered"


def _profile(asked: str | None) -> tuple[str, Profile]:
    try:
        return profiles.select(asked)
    except ProfileError as error:
        message, _, hint = str(error).partition("; ")
        others = ", ".join(profiles.names())
        raise Unwell(message, f"{hint} (there are: {others})" if others else hint, USAGE) from None


def _files(profile: Profile) -> str:
    try:
        profile.tls().read()
    except TransomError as error:
        message, _, hint = error.message.partition("; ")
        raise Unwell(message, hint, code_of(error)) from None
    if not profile.token_file:
        return "certificate and key can be read"
    try:
        token = Path(profile.token_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise Unwell("the token file cannot be read", "start `transom dev`, or check the profile's `token_file`", AUTH) from None
    at = expires_at(token)
    left = "" if at is None else f", which is good for {max(0.0, at - time.time()) / 60:.0f} min yet"
    return f"certificate and key can be read, and a token{left}"


async def _ask(profile: Profile) -> tuple[list[Runner], list[Action]]:
    async with Client(profile) as client:
        return await client.runners(), await client.actions()
