"""`transom runner`: the runner's commands in the `transom` command line, which finds them by the group `transom.commands`.

Importing this imports nothing of the runner: the command line shows commands that nobody may call.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.group()
def runner() -> None:
    """Run a runner on this machine."""


@runner.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="A TOML file with the runner's settings.")
@click.option("--exit-with-parent", is_flag=True, help="Drain and exit when standard input ends.")
def run(config: Path, exit_with_parent: bool) -> None:
    """Connect to the server and work until SIGTERM."""
    words = ["--config", str(config), *(["--exit-with-parent"] if exit_with_parent else [])]
    sys.stdout.flush()
    # In the place of this process: the runner's templates must start before gRPC is imported, and the command line has done that.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "transom_runner", "run", *words])  # noqa: S606 - no shell is wanted
