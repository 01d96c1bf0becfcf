"""`transom server`: the server's commands in the `transom` command line, which finds them by the group `transom.commands`.

Importing this imports nothing of the server: the command line shows commands that nobody may call.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

import click

STATE: Final = click.option("--state", type=click.Path(path_type=Path), required=True, help="The state folder.")
TRUST_DOMAIN: Final = click.option("--trust-domain", metavar="NAME", help="Name of the trust domain (default: transom.internal).")


@click.group()
def server() -> None:
    """Set up a server, run it, and issue tokens."""


@server.command()
@STATE
@TRUST_DOMAIN
def init(**options: object) -> None:
    """Create a state folder: authority, certificates, keys."""
    from transom_server.__main__ import carry_out

    click.get_current_context().exit(carry_out(argparse.Namespace(verb="init", **options)))


@server.command()
@STATE
@TRUST_DOMAIN
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file with further settings.")
@click.option("--host", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on; 0 lets the system choose (default: 7443).")
@click.option("--exit-with-parent", is_flag=True, help="Drain and exit when standard input ends.")
def run(**options: object) -> None:
    """Serve until SIGTERM."""
    words = [word for name, value in options.items() for word in _words(name, value)]
    sys.stdout.flush()
    # In the place of this process, so that nothing of the command line stays in the server's memory.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "transom_server", "run", *words])  # noqa: S606 - no shell is wanted


@server.command()
@STATE
@TRUST_DOMAIN
@click.option("--subject", metavar="NAME", default="local", help="Who the token speaks for (default: local).")
@click.option("--tenant", metavar="NAME", default="default", help="Whose runs it may see (default: default).")
@click.option("--role", type=click.Choice(["viewer", "caller", "operator"]), multiple=True, help="May be repeated (default: caller).")
@click.option("--lifetime", metavar="SECONDS", type=int, default=900, help="Seconds (default: 900).")
def token(**options: object) -> None:
    """Print an access token for the client certificate of the state folder."""
    from transom_server.__main__ import carry_out

    click.get_current_context().exit(carry_out(argparse.Namespace(verb="token", **options)))


def _words(name: str, value: object) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if value is None or value is False:
        return []
    return [option] if value is True else [option, str(value)]
