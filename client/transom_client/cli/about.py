"""`transom version` and `transom completion`: what the command line says about itself."""

from __future__ import annotations

import platform
from importlib.metadata import distributions

import click
from click.shell_completion import get_completion_class

from transom_client.cli.output import JSON, TABLE, emit_columns, emit_json, output_option

OURS = "transom-"


@click.command()
@output_option(TABLE, JSON)
def version(output: str) -> None:
    """Print the versions of what is installed."""
    found = {one.name: one.version for one in distributions() if one.name.startswith(OURS)}
    found |= {one.name: one.version for one in distributions() if one.name in {"grpcio", "protobuf"}}
    found["python"] = platform.python_version()
    if output == JSON:
        emit_json(dict(found))
    else:
        emit_columns(("part", "version"), sorted(found.items()))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, to be read at its start: `eval "$(transom completion bash)"`."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "transom", "_TRANSOM_COMPLETE").source())
