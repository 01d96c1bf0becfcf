"""Samples that are pictures of text."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache

from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling, Transpose

from samples.sample import Sample
from samples.texts import invoice, letter, printed, receipt

DPI = 200
A4_PIXELS = (1654, 2339)
WHITE = 255
NOISE = 0.2
SKEW_DEGREES = 1.5
EXIF_ORIENTATION = 0x0112


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def rendered(lines: list[str], size: tuple[int, int] = A4_PIXELS, *, points: int = 12, dpi: int = DPI) -> Image.Image:
    """Print lines on a white page."""
    page = Image.new("L", size, WHITE)
    pen = ImageDraw.Draw(page)
    pixels = round(points * dpi / 72)
    for index, line in enumerate(lines):
        pen.text((size[0] // 12, size[1] // 18 + index * round(pixels * 1.7)), line, font=font(pixels), fill=0)
    return page


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def receipt_png() -> Sample:
    """A receipt as a cheap scanner sees it: skewed and noisy."""
    lines = receipt(7)
    page = rendered(lines, (800, 1100), points=14)
    page = page.rotate(SKEW_DEGREES, resample=Resampling.BICUBIC, fillcolor=WHITE)
    noise = Image.frombytes("L", page.size, random.Random(7).randbytes(page.width * page.height))
    noisy = Image.blend(page, noise, NOISE)
    return Sample(name="receipt.png", media_type="image/png", data=saved(noisy, "PNG", dpi=(DPI, DPI)), pages=(printed(lines),))


def letter_tiff() -> Sample:
    """Two pages in one file."""
    texts = [letter(1), letter(2)]
    pages = [rendered(lines) for lines in texts]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw", dpi=(DPI, DPI))
    return Sample(name="letter.tiff", media_type="image/tiff", data=data, pages=tuple(printed(lines) for lines in texts))


def tiff_of(count: int) -> Sample:
    """As many tiny blank pages."""
    pages = [Image.new("1", (8, 8), 1) for _ in range(count)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    return Sample(name=f"{count}.tiff", media_type="image/tiff", data=data, pages=("",) * count)


def tiff_with_one_bad_page() -> Sample:
    """Three pages; the pixels of the second are garbage."""
    texts = [letter(3), letter(4), letter(5)]
    pages = [rendered(lines) for lines in texts]
    data = bytearray(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate", dpi=(DPI, DPI)))
    for place in strips(bytes(data))[1]:
        data[place : place + 16] = b"\xff" * 16
    return Sample(name="bad-page.tiff", media_type="image/tiff", data=bytes(data), pages=(printed(texts[0]), "", printed(texts[2])))


def strips(data: bytes) -> list[list[int]]:
    """Offsets of the strips of every page."""
    with Image.open(io.BytesIO(data)) as image:
        found = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            found.append(list(image.tag_v2[273]))  # type: ignore[attr-defined]
        return found


def photo_jpeg() -> Sample:
    """A page photographed with the camera held sideways: EXIF says how to turn it."""
    lines = letter(6)
    page = rendered(lines).transpose(Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    data = saved(page, "JPEG", quality=90, exif=exif, dpi=(DPI, DPI))
    return Sample(name="photo.jpg", media_type="image/jpeg", data=data, pages=(printed(lines),))


def page_in(kind: str, seed: int = 20) -> Sample:
    """One page of an invoice as PNG, JPEG, TIFF, WEBP or BMP."""
    lines = invoice(seed)
    options: dict[str, object] = {"lossless": True, "method": 0} if kind == "WEBP" else {"dpi": (DPI, DPI)}
    data = saved(rendered(lines), kind, **options)
    return Sample(name=f"invoice.{kind.lower()}", media_type=f"image/{kind.lower()}", data=data, pages=(printed(lines),))


def invoice_webp() -> Sample:
    return page_in("WEBP")


def invoice_bmp() -> Sample:
    return page_in("BMP")


def png(width: int, height: int, *, bits: int, content: bytes, before: bytes = b"") -> bytes:
    """Put a grey PNG together: `content` is its compressed rows."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def zeros(count: int) -> bytes:
    """Compress that many zero bytes without ever holding them."""
    deflate, block = zlib.compressobj(9), bytes(1 << 20)
    pieces = [deflate.compress(block) for _ in range(count // len(block))]
    return b"".join([*pieces, deflate.compress(bytes(count % len(block))), deflate.flush()])


def huge_png(width: int = 50_000, height: int = 50_000) -> Sample:
    """A header that claims far more pixels than the few bytes behind it."""
    return Sample(name="huge.png", media_type="image/png", data=png(width, height, bits=8, content=zeros(width + 1)))


def bomb_png(side: int = 30_000) -> Sample:
    """A hundred kilobytes that are really and truly hundreds of millions of pixels."""
    return Sample(name="bomb.png", media_type="image/png", data=png(side, side, bits=1, content=zeros((side // 8 + 1) * side)))


def text_bomb_png(size: int = 256 << 20) -> Sample:
    """A picture of one pixel, with a comment that unpacks to gigantic size."""
    comment = chunk(b"zTXt", b"Comment\0\0" + zeros(size))
    return Sample(name="comment.png", media_type="image/png", data=png(1, 1, bits=8, content=zlib.compress(b"\0\0"), before=comment))
