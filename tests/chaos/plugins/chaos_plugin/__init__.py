"""Send each document back in parts, and tell the start of every call to a log outside: that is its side effect."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator

from transom_plugin import Context, Document, Input, Output, Part, hookimpl

ACTIONS = frozenset({"chaos.echo", "chaos.charge"})
PART_BYTES = 1024 * 1024
"""Small beside the window of a result, so that a caller that takes no parts holds the rest back."""


@hookimpl
def transom_run(action: str, inputs: Iterator[Input], context: Context) -> Iterable[Output] | None:
    """Answer for both actions."""
    return _echo(inputs, context) if action in ACTIONS else None


def _echo(inputs: Iterator[Input], context: Context) -> Iterator[Output]:
    _start(context)
    for given in inputs:
        if isinstance(given, Document):
            for at in range(0, len(given.data), PART_BYTES):
                yield Part(document=given.index, media_type=given.media_type, data=given.data[at : at + PART_BYTES])


def _start(context: Context) -> None:
    """Tell that this call begins, and wait until it may go on: whoever keeps the log can harm it in between."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        # The kernel finds a name in the abstract namespace: a plugin can make no file.
        line.bind("")
        line.settimeout(context.time_left_s())
        said = {"submission": context.parameters["submission"], "pid": os.getpid(), "template": os.getppid()}
        line.sendto(json.dumps(said).encode(), "\0" + context.parameters["log"])
        line.recv(16)
