"""Open an image file in memory, one picture at a time, and say what is wrong with it where that fails."""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import ExifTags
from PIL import Image as Pillow
from transom_plugin import (
    Document,
    DocumentDamaged,
    DocumentEmpty,
    Image,
    Limits,
    MediaTypeMismatch,
    MediaTypeUnsupported,
    OutOfMemory,
    PageUnreadable,
    PluginError,
    TooManyPixels,
)

from transom_plugin_tesseract.orientation import EXIF, Orientation, Picture, upright

FORMATS: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/tiff": "TIFF", "image/webp": "WEBP", "image/bmp": "BMP"}
SANE_DPI: Final = range(70, 2401)
GUESSED_DPI: Final = range(70, 301)
A4_INCHES: Final = 8.27
SQUARE_WITHIN: Final = 1.3
"""Pixels whose sides differ more are made square: faxes have 204 x 98 dots per inch."""
MAX_FRAMES: Final = 100_000
HEADER_BYTES: Final = 16
STDERR: Final = 2

# Pillow would print where nobody has set up logging, and worker output is no place for a document.
logging.getLogger("PIL").addHandler(logging.NullHandler())
logging.getLogger("PIL").propagate = False


class Scan:
    """An open image file."""

    def __init__(self, document: Document, image: Pillow.Image, limits: Limits) -> None:
        self._document = document
        self._image = image
        self._limits = limits
        self.count = frames(document.data) if image.format == "TIFF" else 1
        """How many pages it has."""

    def picture(self, number: int, pages: int) -> Picture:
        """Decode a page, from 1, of which `pages` will be read in all.

        Raises:
            TooManyPixels: It has more pixels than allowed; nothing was decoded.
            DocumentDamaged: The document's only page cannot be read.
            PageUnreadable: One of several pages cannot be read.
        """
        with silenced(), translated(DocumentDamaged if self.count == 1 else PageUnreadable):
            if self.count > 1:
                self._image.seek(number - 1)
            if self._image.width * self._image.height > self._limits.max_pixels:
                raise TooManyPixels
            return self._decoded(number, pages)

    def _decoded(self, number: int, pages: int) -> Picture:
        orientation = EXIF.get(self._image.getexif().get(ExifTags.Base.Orientation, 1), Orientation())
        across, down = resolution(self._image)
        # A JPEG decoded as grey needs a third of the memory.
        self._image.draft("L", self._image.size)
        self._image.load()
        pixels = grey(self._image)
        # Pillow turns a TIFF upright by itself.
        pixels = pixels if self._image.format == "TIFF" else upright(pixels, orientation)
        sideways = orientation.rotation in {90, 270}
        size = (pixels.height, pixels.width) if sideways else (pixels.width, pixels.height)
        if across and down and max(across, down) > SQUARE_WITHIN * min(across, down):
            pixels = squared(pixels, (down, across) if sideways else (across, down), self._limits)
            across = max(across, down)
        guess = round(min(pixels.size) / A4_INCHES)
        image = Image(
            document=self._document.index, page=number, width=pixels.width, height=pixels.height, channels=1,
            dpi=across or min(max(guess, GUESSED_DPI.start), GUESSED_DPI.stop - 1), data=memoryview(pixels.tobytes()),
            page_width=size[0], page_height=size[1], unit="pixel", rotation=orientation.rotation, pages=pages,
        )  # fmt: skip
        return Picture(image=image, mirrored=orientation.mirrored, dpi=across or None)


@contextmanager
def opened(document: Document, limits: Limits) -> Iterator[Scan]:
    """Open a document; it is closed afterwards.

    Raises:
        DocumentEmpty: There is not a byte.
        MediaTypeUnsupported: It is declared to be something else than an image that can be read.
        MediaTypeMismatch: It is not what it is declared to be.
        DocumentDamaged: It cannot be read.
        TooManyPixels: It has more pixels than allowed.
    """
    if not document.data:
        raise DocumentEmpty
    expected = FORMATS.get(document.media_type)
    if expected is None:
        raise MediaTypeUnsupported
    if format_of(bytes(document.data[:HEADER_BYTES])) != expected:
        raise MediaTypeMismatch
    # Pillow refuses twice as many by itself, also where opening alone costs memory.
    Pillow.MAX_IMAGE_PIXELS = limits.max_pixels
    with translated(DocumentDamaged):
        image = Pillow.open(io.BytesIO(document.data), formats=[expected])
    with image:
        yield Scan(document, image, limits)


@contextmanager
def translated(damage: type[PluginError]) -> Iterator[None]:
    """Turn whatever Pillow raises and warns of into our own errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PluginError:
        raise
    except MemoryError:
        raise OutOfMemory from None
    except Pillow.DecompressionBombError:
        raise TooManyPixels from None
    except Exception:  # noqa: BLE001 - decoders fail in every way there is
        raise damage from None


@contextmanager
def silenced() -> Iterator[None]:
    """Keep libtiff from printing what it thinks of a damaged page."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:
        # A sandbox may forbid it; it has its own way with what is printed.
        yield
        return
    kept = os.dup(STDERR)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


def format_of(header: bytes) -> str | None:
    """Tell the format by a file's first bytes."""
    if header.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if header.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if header[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "TIFF"
    if header.startswith(b"RIFF") and header[8:12] == b"WEBP":
        return "WEBP"
    return "BMP" if header.startswith(b"BM") else None


def frames(data: memoryview) -> int:
    """Count a TIFF's pages along its chain of directories (TIFF 6.0, section 2), without reading them."""
    header = bytes(data[:4])
    order = "<" if header[:1] == b"I" else ">"
    big = b"+" in header
    pointer, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        while offset and offset not in seen and len(seen) < MAX_FRAMES:
            seen.add(offset)
            (entries,) = struct.unpack_from(order + count, data, offset)
            (offset,) = struct.unpack_from(order + pointer, data, offset + struct.calcsize(count) + entries * entry)
    except (struct.error, OverflowError):
        # The chain leads out of the file: what is missing counts as one page, which will be reported as unreadable.
        pass
    return max(1, len(seen))


def resolution(image: Pillow.Image) -> tuple[int, int]:
    """Return the dots per inch, across and down, that a file claims; zeros where it claims none that can be true."""
    try:
        across, down = (round(float(value)) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return 0, 0
    return (across, down) if across in SANE_DPI and down in SANE_DPI else (0, 0)


def squared(pixels: Pillow.Image, dpi: tuple[int, int], limits: Limits) -> Pillow.Image:
    """Stretch a picture until its pixels are square."""
    finest = max(dpi)
    width, height = pixels.width * finest // dpi[0], pixels.height * finest // dpi[1]
    if width * height > limits.max_pixels:
        raise TooManyPixels
    return pixels.resize((width, height))


def grey(image: Pillow.Image) -> Pillow.Image:
    """Return 8-bit grey pixels, on white where they are transparent."""
    if image.mode == "L" and not image.has_transparency_data:
        return image
    if image.mode.startswith(("I", "F")):
        return _scaled(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Pillow.new("L", image.size, 255)
        paper.paste(image.convert("L"), mask=image.getchannel("A"))
        return paper
    return image.convert("L")


def _scaled(image: Pillow.Image) -> Pillow.Image:
    """Bring deep samples to 8 bits, from the darkest that occurs to the lightest."""
    wide = image.convert("F")
    low, high = wide.getextrema()
    if not isinstance(low, float) or not isinstance(high, float) or high <= low:
        return Pillow.new("L", image.size, 255)
    scale = 255 / (high - low)
    return wide.point(lambda sample: sample * scale - low * scale).convert("L")
