"""The `transom` command line: one module per group of commands, each imported when it is used.

Other distributions add commands through the entry-point group `transom.commands`, so that this one imports none of them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import click

GROUP: Final = "transom.commands"
BUILT_IN: Final[Mapping[str, tuple[str, str]]] = {
    "process": ("transom_client.cli.process", "Run an action on documents and print what it reads."),
    "runs": ("transom_client.cli.runs", "List runs, follow them, cancel them."),
    "runners": ("transom_client.cli.fleet", "See which runners there are, and keep work from them."),
    "queue": ("transom_client.cli.fleet", "List what waits for runners."),
    "actions": ("transom_client.cli.fleet", "See which actions runners offer."),
    "dev": ("transom_client.cli.dev", "Run a server and a runner on this machine until Ctrl-C."),
    "doctor": ("transom_client.cli.doctor", "Check what is needed to process a document, and say what to do next."),
    "version": ("transom_client.cli.about", "Print the versions of what is installed."),
    "completion": ("transom_client.cli.about", "Print the completion script of a shell."),
    "protos": ("transom_client.cli.protos", "Write the contract, for clients in other languages."),
}
"""Module of each command, whose attribute of the same name it is, and its line in the help: shown without an import."""


def plugged() -> dict[str, EntryPoint]:
    """Return the commands that other distributions supply; ours cannot be replaced."""
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in BUILT_IN}


class Commands(click.Group):
    """The root: finds commands by name, and turns every error into two lines and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return [*BUILT_IN, *sorted(plugged())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name in BUILT_IN:
            command: click.Command = getattr(importlib.import_module(BUILT_IN[cmd_name][0]), cmd_name)
            return command
        entry = plugged().get(cmd_name)
        return _loaded(entry) if entry is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        rows = [(name, line) for name, (_, line) in BUILT_IN.items()]
        rows += [(name, _about(entry)) for name, entry in sorted(plugged().items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        from transom_client.cli.exits import report

        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # Whoever read our output has seen enough; the interpreter must not complain when it flushes.
            sys.stdout = None
            ctx.exit(1)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a traceback could quote a document
            ctx.exit(report(error))


def _about(entry: EntryPoint) -> str:
    """Describe a command by the distribution that supplies it."""
    return (entry.dist.metadata["Summary"] if entry.dist is not None else None) or ""


def _loaded(entry: EntryPoint) -> click.Command:
    """Import a command of another distribution, or return one that says why that cannot be: completion and help go on."""
    try:
        command = entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - another distribution may fail in every way
        return _broken(entry, type(error).__name__)
    return command if isinstance(command, click.Command) else _broken(entry, "it is no command")


def _broken(entry: EntryPoint, why: str) -> click.Command:
    supplier = entry.dist.name if entry.dist is not None else entry.module

    def tell() -> None:
        click.echo(f"error: the command {entry.name} of {supplier} cannot be loaded ({why})", err=True)
        click.echo(f"hint: install {supplier} anew", err=True)
        click.get_current_context().exit(1)

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(entry.name, callback=tell, short_help="Cannot be loaded.", context_settings=anything, add_help_option=False)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--profile", metavar="NAME", help="Profile to use (default: TRANSOM_PROFILE, else a live `transom dev`).")
@click.pass_context
def root(ctx: click.Context, profile: str | None) -> None:
    """Process documents on runners that keep nothing."""
    ctx.obj = profile


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    root(prog_name="transom")
