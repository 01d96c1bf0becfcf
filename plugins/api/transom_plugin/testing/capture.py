"""Notice whether anything is printed, by Python or by a library below it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator

STREAMS = (1, 2)


class Printed:
    """How much was printed; never what."""

    def __init__(self) -> None:
        self.size = 0


@contextlib.contextmanager
def watched() -> Iterator[Printed]:
    """Swallow standard output and standard error, and count what went there."""
    printed = Printed()
    with contextlib.ExitStack() as stack:
        sinks = [stack.enter_context(_redirected(number)) for number in STREAMS]
        texts = (io.StringIO(), io.StringIO())
        stack.enter_context(contextlib.redirect_stdout(texts[0]))
        stack.enter_context(contextlib.redirect_stderr(texts[1]))
        try:
            yield printed
        finally:
            printed.size = sum(os.fstat(sink).st_size for sink in sinks) + sum(text.tell() for text in texts)


@contextlib.contextmanager
def _redirected(number: int) -> Iterator[int]:
    """Point a descriptor to memory where the system can, else to a file that has no name."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, AttributeError):
            stream.flush()
    kept = os.dup(number)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, kept)
        sink = _memory()
        if sink is None:
            sink = stack.enter_context(tempfile.TemporaryFile()).fileno()
        else:
            stack.callback(os.close, sink)
        os.dup2(sink, number)
        try:
            yield sink
        finally:
            os.dup2(kept, number)


def _memory() -> int | None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.memfd_create("printed")
    return None
