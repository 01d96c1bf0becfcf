"""A plugin that does what plugins must not do, one way per action."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from transom_plugin import Context, Document, Input, Output, Page, PageUnreadable, Part, Span, Word, hookimpl


def fail(data: bytes, context: Context) -> bytes:
    raise ValueError(data.decode())


def crash(data: bytes, context: Context) -> bytes:
    ctypes.string_at(1)
    return b""


def quit_(data: bytes, context: Context) -> bytes:
    os._exit(3)


def hang(data: bytes, context: Context) -> bytes:
    while True:
        time.sleep(60)


def stop(data: bytes, context: Context) -> bytes:
    while True:
        context.check()
        time.sleep(0.01)


def say(data: bytes, context: Context) -> bytes:
    print(data.decode(), flush=True)
    print(data.decode(), file=sys.stderr, flush=True)
    return b"said"


def hoard(data: bytes, context: Context) -> bytes:
    return bytes(len(bytearray(4 << 30)))


def spin(data: bytes, context: Context) -> bytes:
    while True:
        pass


def flood(data: bytes, context: Context) -> bytes:
    return bytes(8 << 20)


def keep(data: bytes, context: Context) -> bytes:
    """Try to write the document to a file, and tell what came of it."""
    path = Path("/tmp") / f"naughty-{os.getpid()}"
    try:
        path.write_bytes(data)
    except OSError as error:
        return type(error).__name__.encode() + b" %d" % (path.stat().st_size if path.exists() else 0)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return b"kept"


def child(data: bytes, context: Context) -> bytes:
    """Leave a process behind that would live on with the document in its memory."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    return b"%d" % pid


def echo(data: bytes, context: Context) -> bytes:
    return data


def wait(data: bytes, context: Context) -> bytes:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    context.progress(1, 2)
    signal.sigwait({signal.SIGUSR1})
    return data + b" by %d" % os.getpid()


ACTIONS: dict[str, Callable[[bytes, Context], bytes]] = {
    "naughty.fail": fail, "naughty.crash": crash, "naughty.quit": quit_, "naughty.hang": hang, "naughty.stop": stop, "naughty.say": say,
    "naughty.hoard": hoard, "naughty.spin": spin, "naughty.flood": flood, "naughty.keep": keep, "naughty.child": child,
    "naughty.echo": echo, "naughty.wait": wait, "naughty.act": echo,
}  # fmt: skip


@hookimpl
def transom_run(action: str, inputs: Iterator[Input], context: Context) -> Iterable[Output]:
    if action == "naughty.pages":
        return pages(inputs)
    return parts(ACTIONS[action], inputs, context)


def parts(act: Callable[[bytes, Context], bytes], inputs: Iterator[Input], context: Context) -> Iterator[Output]:
    for document in inputs:
        assert isinstance(document, Document)
        yield Part(document=document.index, media_type="text/plain", data=act(bytes(document.data), context))


def pages(inputs: Iterator[Input]) -> Iterator[Output]:
    """Every second page fails."""
    for document in inputs:
        assert isinstance(document, Document)
        word = Word(text="word", polygon=(0, 0, 1, 0, 1, 1, 0, 1))
        yield Page(document=document.index, number=1, engine="naughty.pages", words=(word,), lines=(Span(0, 1),), pages=2)
        yield Page.failed(document.index, 2, "naughty.pages", PageUnreadable(), pages=2)
