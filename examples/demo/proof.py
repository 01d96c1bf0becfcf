"""Look for content where none may be: every file that server and runner wrote, for markers of every document."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from samples import Sample

SHARED_PLACES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
MAX_FILES = 50_000
MAX_FILE_BYTES = 64 * 1024 * 1024
SHORTEST_MARKER = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was searched, and where content was found."""

    files: int
    size_bytes: int
    markers: int
    found: tuple[str, ...]

    def joined(self, later: Search) -> Search:
        """Add the findings of a later search."""
        found = tuple(dict.fromkeys(self.found + later.found))
        return Search(
            files=max(self.files, later.files), size_bytes=max(self.size_bytes, later.size_bytes), markers=self.markers, found=found
        )


def markers(samples: Sequence[Sample]) -> set[bytes]:
    """Return what gives a document away: its lines of text and slices of its bytes, in the encodings that a leak could have."""
    plain: set[bytes] = set()
    for sample in samples:
        plain |= {line.encode() for page in sample.pages for line in page.splitlines() if len(line) >= SHORTEST_MARKER}
        middle = len(sample.data) // 2
        plain.add(bytes(sample.data[middle : middle + 48]))
    return {encoded for marker in plain for encoded in encodings(marker)}


def encodings(marker: bytes) -> Iterator[bytes]:
    """Yield a marker raw, reversed, in hex, in UTF-16, and in base64 at its three alignments."""
    yield marker
    yield marker[::-1]
    yield marker.hex().encode()
    yield marker.hex().upper().encode()
    yield marker.decode("latin-1").encode("utf-16-le")
    for shift in range(3):
        # The first and last characters depend on what stands beside the marker.
        yield base64.b64encode(bytes(shift) + marker)[4:-4]


def search(folder: Path, samples: Sequence[Sample], *, since: float) -> Search:
    """Search the folder of server and runner, and what has changed in the places that anybody may write to."""
    wanted = markers(samples)
    files = size = 0
    found: list[str] = []
    for path in [*below(folder, since=0), *(path for place in SHARED_PLACES for path in below(place, since=since))]:
        try:
            data = path.read_bytes() if path.is_file() else b""
        except OSError:
            # Another program's file, gone or not ours to read.
            continue
        files += 1
        size += len(data)
        name = str(path).encode()
        if any(marker in data or marker in name for marker in wanted):
            found.append(str(path))
    return Search(files=files, size_bytes=size, markers=len(wanted), found=tuple(found))


def below(place: Path, *, since: float) -> Iterator[Path]:
    """Yield the regular files below a place that were changed since then, in bounded number and size."""
    for count, path in enumerate(place.rglob("*")):
        if count > MAX_FILES:
            return
        try:
            status = path.lstat()
        except OSError:
            continue
        if path.is_file() and not path.is_symlink() and status.st_mtime >= since and status.st_size <= MAX_FILE_BYTES:
            yield path


def plant(path: Path, sample: Sample) -> None:
    """Write what must never be written: the positive control of the search."""
    path.write_text(f"debug: page text was {sample.pages[0]}", encoding="utf-8")


def ledger(path: Path) -> list[dict[str, object]]:
    """Return every row of the ledger's runs, as they lie in the file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM runs")]
