"""Send each document back: the least that a plugin can do, so that the way to it is what is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from transom_plugin import Context, Document, Input, Output, Part, hookimpl

ACTION = "bench.echo"


@hookimpl
def transom_run(action: str, inputs: Iterator[Input], context: Context) -> Iterable[Output] | None:
    """Answer for `bench.echo`."""
    return _echo(inputs) if action == ACTION else None


def _echo(inputs: Iterator[Input]) -> Iterator[Output]:
    for given in inputs:
        if isinstance(given, Document):
            yield Part(document=given.index, media_type=given.media_type, data=given.data)
