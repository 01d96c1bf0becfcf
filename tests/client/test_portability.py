"""The client runs on Linux, macOS and Windows: nothing that only one of them has may be imported or called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import transom_client
import transom_wire

MODULES = {"fcntl", "resource", "termios", "pwd", "grp", "pty", "tty", "posix", "ctypes", "uvloop", "syslog", "curses", "readline", "mmap"}
ATTRIBUTES = {
    "os": {
        "fork", "forkpty", "pidfd_open", "memfd_create", "getuid", "geteuid", "getgid", "setsid", "killpg", "kill", "fchmod", "mkfifo",
        "sched_getaffinity", "wait4", "waitid", "splice", "sendfile", "getpgid", "setpgid", "statvfs", "chroot", "nice", "uname",
    },
    "signal": {"pidfd_send_signal", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "alarm", "setitimer", "pause", "sigwait"},
    "socket": {"AF_UNIX", "AF_VSOCK", "send_fds", "recv_fds", "SO_PEERCRED"},
}  # fmt: skip


def sources() -> list[Path]:
    return [path for package in (transom_client, transom_wire) for path in Path(str(package.__file__)).parent.rglob("*.py")]


def bound_to_one_system(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name in ATTRIBUTES.get(node.module, ()))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in ATTRIBUTES.get(node.value.id, ()):
            yield f"{node.value.id}.{node.attr}"
        yield from (name for name in names if name.split(".")[0] in MODULES)


@pytest.mark.parametrize("path", sources(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_is_used_that_only_one_system_has(path: Path) -> None:
    assert list(bound_to_one_system(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("planted", ["import fcntl", "from os import fork", "import os\nos.fork()", "import ctypes.util", "signal.SIGKILL"])
def test_the_check_finds_what_is_planted(planted: str) -> None:
    assert list(bound_to_one_system(ast.parse(planted)))
