"""Run what the documentation tells to type, as a reader would: in a shell, beside a live `transom dev`."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from samples import letter_tiff, receipt_png, three_page_pdf

from docs.pages import Command

WITHIN_S = 60
READY_WITHIN_S = 40
BIN = Path(sys.executable).parent
NEXT = "-- next command --"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where a reader sits: a folder with documents, and an environment of his own."""

    folder: Path
    environment: Mapping[str, str]

    def complaints(self, told: Sequence[Command]) -> list[str]:
        """Run commands in one shell; say which failed, and which showed something else than was told."""
        script = "".join(f"{command.line}\necho '{NEXT}'\n" for command in told)
        ran = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=WITHIN_S, text=True, check=False,
        )  # fmt: skip
        outputs = ran.stdout.split(f"{NEXT}\n")
        done = len(outputs) - 1
        if ran.returncode or done < len(told):
            return [f"`{told[done].line}` ended with {ran.returncode}: {outputs[-1]}{ran.stderr}"]
        pairs = zip(told, outputs, strict=False)
        return [f"`{one.line}` shows: {output}" for one, output in pairs if one.shows and not begins_as(one.shows, output)]


def begins_as(shown: str, output: str) -> bool:
    """Whether the first line is as shown, whatever the widths of columns."""
    return output.splitlines()[:1] != [] and output.splitlines()[0].split() == shown.split()


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    """Put sample documents into a folder, and keep `transom dev` running beside it."""
    home, documents = folder / "home", folder / "documents"
    home.mkdir()
    documents.mkdir()
    for sample, name in ((receipt_png(), "receipt.png"), (three_page_pdf(), "three-pages.pdf"), (letter_tiff(), "letter.tiff")):
        (documents / name).write_bytes(sample.data)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "TRANSOM_"))}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    # Whatever measures for long is to be short here.
    environment = {**kept, "HOME": str(home), "PATH": path, "PYTHONSAFEPATH": "1", "SMOKE": "1"}
    dev = subprocess.Popen(["transom", "dev"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(dev)
        yield Desk(folder=documents, environment=environment)
        dev.send_signal(signal.SIGINT)
        dev.communicate(timeout=WITHIN_S)
        assert dev.returncode == 0
    finally:
        if dev.poll() is None:
            dev.kill()
            dev.communicate()


def _wait_until_ready(dev: subprocess.Popen[bytes]) -> None:
    assert dev.stdout is not None
    deadline, heard = time.monotonic() + READY_WITHIN_S, b""
    with selectors.DefaultSelector() as selector:
        selector.register(dev.stdout, selectors.EVENT_READ)
        while b"Ctrl-C stops both" not in heard:
            assert selector.select(max(0.0, deadline - time.monotonic())), f"transom dev is not ready: {heard!r}"
            piece = os.read(dev.stdout.fileno(), 65_536)
            assert piece, f"transom dev ended: {heard!r}"
            heard += piece
