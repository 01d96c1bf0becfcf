"""`transom runs`: list runs, follow them, cancel them."""

from __future__ import annotations

from contextlib import aclosing

import click

from transom_client.cli.exits import FAILED
from transom_client.cli.opening import profile_option, with_client
from transom_client.cli.output import JSON, TABLE, emit_columns, emit_json, moment, output_option
from transom_client.cli.shapes import run_shape
from transom_client.client import Client
from transom_client.records import Run
from transom_client.states import RunState

HEADERS = ("run", "action", "state", "reason", "documents", "bytes", "pages", "attempts", "created")
STATES = tuple(state.name.lower() for state in RunState if state)


@click.group()
def runs() -> None:
    """List runs, follow them, cancel them."""


@runs.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many at most, newest first.")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only runs in this state; may be repeated.")
@click.option("--action", default="", help="Only runs of this action.")
@output_option(TABLE, JSON)
@profile_option
def list_runs(limit: int, states: tuple[str, ...], action: str, output: str) -> None:
    """List runs, newest first."""
    wanted = [RunState[state.upper()] for state in states]

    async def work(client: Client) -> list[Run]:
        return [run async for run in client.runs.list(limit=limit, states=wanted, action=action)]

    _print(with_client(work), output)


@runs.command("get")
@click.argument("name", metavar="RUN")
@output_option(TABLE, JSON)
@profile_option
def get_run(name: str, output: str) -> None:
    """Show what the server remembers of one run."""
    run = with_client(lambda client: client.runs.get(name))
    if output == JSON:
        emit_json(run_shape(run))
        return
    for key, value in run_shape(run).items():
        if isinstance(value, dict):
            for inner, measured in value.items():
                click.echo(f"{key}.{inner}: {measured}")
        elif value is not None:
            click.echo(f"{key}: {value}")


@runs.command("watch")
@click.argument("name", metavar="RUN")
@output_option(TABLE, JSON)
@profile_option
@click.pass_context
def watch_run(ctx: click.Context, name: str, output: str) -> None:
    """Follow a run until it ends; exits with 1 if it did not succeed."""

    async def work(client: Client) -> RunState:
        state = RunState.UNKNOWN
        async with aclosing(client.runs.watch(name)) as changes:
            async for run in changes:
                if output == JSON:
                    emit_json(run_shape(run))
                elif run.state is not state:
                    click.echo(
                        " ".join(filter(None, (moment(run.ended_at or run.started_at or run.created_at), run.state.name, run.reason)))
                    )
                state = run.state
        return state

    if with_client(work) is not RunState.SUCCEEDED:
        ctx.exit(FAILED)


@runs.command("cancel")
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@profile_option
def cancel_runs(names: tuple[str, ...]) -> None:
    """Cancel runs; those that have ended are left as they are."""

    async def work(client: Client) -> None:
        for name in names:
            was_live = await client.runs.cancel(name)
            click.echo(f"{name} {'cancelled' if was_live else 'had ended'}")

    with_client(work)


def _print(found: list[Run], output: str) -> None:
    if output == JSON:
        for run in found:
            emit_json(run_shape(run))
        return
    emit_columns(HEADERS, [_row(run) for run in found])


def _row(run: Run) -> tuple[str, ...]:
    pages = f"{run.pages} ({run.pages_failed} failed)" if run.pages_failed else str(run.pages)
    return (
        run.name.removeprefix("runs/"), run.action, run.state.name, run.reason or "-", str(run.documents), str(run.size_bytes), pages,
        str(run.attempts), moment(run.created_at),
    )  # fmt: skip
