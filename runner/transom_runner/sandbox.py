"""Take away from a process what it needs not: level 1, the limits. Measured afterwards, never assumed.

The prctl numbers are those of Linux's `include/uapi/linux/prctl.h`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39

NONE: Final = 1
LIMITS: Final = 2
"""Levels, with the numbers of transom.runs.v1.ContainmentLevel."""

WORKER_FILES: Final = 256


# Opened once, in the template: every child would pay for it otherwise.
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
TRIM: Final[Callable[[int], object] | None] = getattr(_LIBC, "malloc_trim", None)
"""glibc's malloc_trim(3), where there is one."""


class NotContained(Exception):
    """A limit could not be set."""


def _prctl(operation: int, argument: int | bytes = 0) -> int:
    value = argument if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    result: int = _LIBC.prctl(operation, value, 0, 0, 0)
    if result < 0:
        raise NotContained(f"prctl({operation}) failed")
    return result


def die_with(parent: int) -> None:
    """Be killed when the parent dies; exit at once if it is dead already."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def name(text: str) -> None:
    """Name the process for `ps`: at most 15 characters, never content."""
    _prctl(PR_SET_NAME, text.encode("ascii")[:15])


def undumpable() -> None:
    """Refuse core dumps and debuggers."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)


def enter() -> None:
    """Enter level 1: no file can grow, no core is dumped, no debugger attaches, no privilege is gained.

    Raises:
        NotContained: The kernel refused.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    undumpable()
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def tighten(memory_bytes: int, cpu_seconds: int) -> None:
    """Bound what one call may use, beyond what its template has mapped already."""
    resource.setrlimit(resource.RLIMIT_AS, (_mapped_bytes() + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (WORKER_FILES, WORKER_FILES))


def _mapped_bytes() -> int:
    # Plain calls: this is on the way of every single call of an action.
    number = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        return int(os.read(number, 128).split()[0]) * resource.getpagesize()
    finally:
        os.close(number)


def measure() -> int:
    """Attack this very process, and return the level that held."""
    held = (
        _file_cannot_grow()
        and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        and _prctl(PR_GET_DUMPABLE) == 0
        and _prctl(PR_GET_NO_NEW_PRIVS) == 1
    )
    return LIMITS if held else NONE


def _file_cannot_grow() -> bool:
    """Try to write one byte to files that have no name."""
    opened = [os.memfd_create("probe")]
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108  # the places that anyone may write to
        with contextlib.suppress(OSError):
            opened.append(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600))
    written = [_can_write(number) for number in opened]
    return not any(written)


def _can_write(number: int) -> bool:
    try:
        return os.write(number, b"x") > 0
    except OSError:
        return False
    finally:
        os.close(number)


def leftovers(descriptors: frozenset[int]) -> str:
    """Name what an import left behind that a fork would share with a document's process; empty when nothing.

    Args:
        descriptors: Those that may be open.
    """
    threads = list(Path("/proc/self/task").iterdir())
    if len(threads) > 1:
        return "THREAD"
    if (threads[0] / "children").read_bytes().strip():
        return "CHILD"
    if _open_descriptors() - descriptors:
        return "DESCRIPTOR"
    maps = Path("/proc/self/maps").read_bytes().splitlines()
    return "SHARED_MAPPING" if any(line.split(maxsplit=2)[1] == b"rw-s" for line in maps) else ""


def _open_descriptors() -> set[int]:
    listed = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}
    # The listing itself needed one, which is closed by now.
    return {number for number in listed if _is_open(number)}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
