"""`transom process`: run an action on documents and print what it reads, as it is read."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from transom_wire.errors import TransomError

from transom_client.cli.exits import FAILED, OK, UNAVAILABLE, code_of
from transom_client.cli.opening import profile_option, with_client
from transom_client.cli.output import JSON, TABLE, output_option
from transom_client.cli.reporting import JsonReporter, Reporter, Status, TableReporter, TextReporter
from transom_client.client import DEFAULT_ACTION, Client
from transom_client.documents import Document
from transom_client.events import Accepted, AttemptStarted, Ended, Event, Outcome, PageDone, PartDone, Progress, Queued
from transom_client.request import Parameter
from transom_client.states import Containment, Persistence, Waiting

STDIN: Final = "-"
TEXT: Final = "text"
MAX_DOCUMENTS: Final = 64
_DURATION: Final = re.compile(r"([0-9]+(?:[.][0-9]+)?)(ms|s|m|h)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_WAITING: Final = {
    Waiting.NO_RUNNER: "waiting for a runner that offers the action (`transom runners list`)",
    Waiting.BUSY: "waiting for a free runner",
    Waiting.MEMORY: "waiting for memory on the server",
    Waiting.LIMIT: "waiting for a limit of its own: a concurrency key or a rate",
}


class Duration(click.ParamType[float]):
    """A time such as 500ms, 60s, 2m or 1h; plain numbers are seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(str(value))
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if seconds <= 0:
            self.fail("is not a time such as 500ms, 60s, 2m or 1h", param, ctx)
        return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the command line asks for."""

    files: tuple[str, ...]
    action: str
    parameters: tuple[tuple[str, str], ...]
    timeout_s: float
    media_type: str
    zone: str
    min_containment: Containment
    max_persistence: Persistence
    idempotency_key: str
    detach_grace_s: float | None


def _parameters(_: click.Context, __: click.Parameter, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = [(name, value) for name, equals, value in (one.partition("=") for one in given) if name and equals]
    if len(pairs) != len(given):
        raise click.BadParameter("must be NAME=VALUE")
    return tuple(pairs)


def _names(levels: type[Containment | Persistence]) -> click.Choice[str]:
    return click.Choice([level.name.lower().replace("_", "-") for level in levels])


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--action", default=DEFAULT_ACTION, show_default=True, help="What to run; see `transom actions list`.")
@click.option("--param", "parameters", metavar="NAME=VALUE", multiple=True, callback=_parameters, help="A parameter; may be repeated.")
@output_option(TABLE, JSON, TEXT)
@click.option("--timeout", "timeout_s", type=Duration(), default=300.0, help="How long the run may take.  [default: 300s]")
@click.option("--media-type", default="", help="Type of all documents; guessed from their bytes otherwise.")
@click.option("--zone", default="", help="The zone that documents may not leave.")
@click.option("--min-containment", type=_names(Containment), default="unspecified", help="The weakest containment that will do.")
@click.option("--max-persistence", type=_names(Persistence), default="unspecified", help="The most that a provider may keep.")
@click.option("--idempotency-key", default="", metavar="KEY", help="Start one run only under this key, however often it is asked for.")
@click.option("--detach-grace", "detach_grace_s", type=Duration(), help="How long the run goes on when the connection is lost.")
@profile_option
@click.pass_context
def process(ctx: click.Context, /, output: str, **options: Any) -> None:
    """Run an action on documents and print what it reads, page by page.

    FILE may be - for standard input. Exit codes: 0 ok, 1 failed, 2 usage, 3 not admitted, 4 server unavailable.
    """
    for name, levels in (("min_containment", Containment), ("max_persistence", Persistence)):
        options[name] = levels[options[name].upper().replace("-", "_")]
    order = _Order(**options)
    if len(order.files) > MAX_DOCUMENTS:
        raise click.UsageError(f"at most {MAX_DOCUMENTS} documents go into one run; call the command several times")
    if order.files.count(STDIN) > 1:
        raise click.UsageError("standard input can be read once only")
    shown = ["stdin" if file == STDIN else file for file in order.files]
    reporters: dict[str, Reporter] = {TABLE: TableReporter(shown), JSON: JsonReporter(shown), TEXT: TextReporter()}
    ctx.exit(exit_code(with_client(lambda client: _follow(client, order, reporters[output]))))


def exit_code(outcome: Outcome) -> int:
    """Return the exit code of a run that ended."""
    if outcome.succeeded:
        return OK
    return UNAVAILABLE if outcome.error is not None and code_of(outcome.error) == UNAVAILABLE else FAILED


async def _follow(client: Client, order: _Order, reporter: Reporter) -> Outcome:
    documents = [
        Document(source=sys.stdin.buffer.read() if file == STDIN else Path(file), media_type=order.media_type) for file in order.files
    ]
    parameters = await _typed(client, order)
    status = Status()
    printed: set[tuple[int, int]] = set()
    run = ""
    stream = client.process(
        documents, action=order.action, parameters=parameters, timeout_s=order.timeout_s, zone=order.zone,
        min_containment=order.min_containment, max_persistence=order.max_persistence,
        idempotency_key=order.idempotency_key, detach_grace_s=order.detach_grace_s or 0.0,
    )  # fmt: skip
    try:
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, Accepted):
                    run = event.run
                elif isinstance(event, PageDone):
                    # A further attempt reads pages again that were printed already.
                    if (event.document, event.page.number) not in printed:
                        printed.add((event.document, event.page.number))
                        status.clear()
                        reporter.page(event)
                elif isinstance(event, PartDone):
                    status.clear()
                    reporter.part(event)
                elif isinstance(event, Ended):
                    status.clear()
                    reporter.outcome(event.outcome, run)
                    return event.outcome
                _tell(status, event)
    finally:
        status.clear()
    raise AssertionError("a run has exactly one outcome")


def _tell(status: Status, event: Event) -> None:
    if isinstance(event, Queued):
        status.show(_WAITING.get(event.reason, "waiting"))
    elif isinstance(event, AttemptStarted):
        status.show("reading" if event.attempt == 1 else f"reading, attempt {event.attempt}")
    elif isinstance(event, Progress):
        status.show(f"{event.done} of {event.total} pages" if event.total else f"{event.done} pages")


async def _typed(client: Client, order: _Order) -> Mapping[str, Parameter]:
    """Read parameters as the action's schema has them: `pages=1` is text where the schema says so, and a number elsewhere."""
    if not order.parameters:
        return {}
    try:
        schema = json.loads((await client.action(order.action)).parameters_schema or "{}")
    except TransomError as error:
        if code_of(error) != FAILED:
            raise
        # The run itself will tell what is wrong with the action.
        schema = {}
    rules = schema.get("properties", {})
    return {name: _value(text, rules.get(name, {})) for name, text in order.parameters}


def _value(text: str, rule: Mapping[str, object]) -> Parameter:
    choices = rule.get("enum")
    if rule.get("type") == "string" or (isinstance(choices, list) and text in choices):
        return text
    try:
        value: Parameter = json.loads(text)
    except ValueError:
        return text
    return value
