"""Turn errors into what a person reads, and into exit codes."""

from __future__ import annotations

from typing import Final

import click
import grpc
from transom_wire.errors import PermissionDenied, ServerDraining, TransomError, Unauthenticated, Unavailable

from transom_client.child import ChildFailed
from transom_client.dev import DevFailed
from transom_client.profile import ProfileError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
AUTH: Final = 3
UNAVAILABLE: Final = 4
INTERRUPTED: Final = 130

_HINTS: Final = {
    Unavailable.reason: "run `transom doctor`",
    "UNAUTHENTICATED": "run `transom doctor`",
    PermissionDenied.reason: "ask the operator for a token with that role",
}


def code_of(error: BaseException) -> int:
    """Return the exit code of an error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, ProfileError):
        return USAGE
    if isinstance(error, (Unauthenticated, PermissionDenied)):
        return AUTH
    # A run that lost its runner has failed; only a server that is away is unavailable.
    if type(error) in {Unavailable, ServerDraining}:
        return UNAVAILABLE
    return FAILED


def report(error: BaseException) -> int:
    """Print an error as one line, and a hint below it; returns the exit code."""
    if not isinstance(error, KeyboardInterrupt):
        explain(error)
    return code_of(error)


def explain(error: BaseException) -> None:
    """Print an error as one line, what is wrong with which field, and a hint."""
    message, hint = _words(error)
    click.echo(f"error: {message}", err=True)
    if isinstance(error, TransomError):
        for field, text in error.violations:
            click.echo(f"  {field}: {text}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)


def _words(error: BaseException) -> tuple[str, str]:
    if isinstance(error, TransomError):
        message, _, hint = error.message.partition("; ")
        return message, hint or _HINTS.get(error.reason, "")
    if isinstance(error, (ProfileError, DevFailed, ChildFailed)):
        message, _, hint = str(error).partition("; ")
        return message, hint
    if isinstance(error, grpc.RpcError):
        return "the connection failed", "run `transom doctor`"
    # Its own text may quote what it was given.
    return f"something unexpected happened ({type(error).__name__})", "run `transom doctor`; if it is content, report it as a bug"
