"""The runner's command line: `run --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transom_runner.config import Config


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    root = argparse.ArgumentParser(prog="transom-runner", description="Transom's runner daemon")
    verbs = root.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="connect to the server and work until SIGTERM")
    run.add_argument("--config", type=Path, required=True, help="a TOML file; see docs/operations.md")
    run.add_argument("--exit-with-parent", action="store_true", help="drain and exit when standard input ends")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = parser().parse_args(arguments)
    if sys.platform != "linux":
        print("error: the runner needs Linux, and does not run on this system yet", file=sys.stderr)  # noqa: T201
        return 1
    from transom_wire.logs import configure

    from transom_runner import sandbox
    from transom_runner.config import ConfigError, load

    try:
        config = load(options.config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    configure(config.log_level)
    sandbox.undumpable()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_serve(config, exit_with_parent=options.exit_with_parent))
    return int(uvloop.run(_serve(config, exit_with_parent=options.exit_with_parent)))


async def _serve(config: Config, *, exit_with_parent: bool) -> int:
    from transom_runner.app import App

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if exit_with_parent:
        # A thread, since standard input may be a file or a terminal; it ends with the process.
        threading.Thread(target=_wait_for_end_of_input, args=(loop, stop), daemon=True).start()
    await App(config).run(stop)
    return 0


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    raise SystemExit(main())
