"""Turn a page into grey pixels."""

from __future__ import annotations

import ctypes
import math

import pypdfium2.raw as c
from transom_plugin import Image, Limits, TooManyPixels

from transom_plugin_pdf.opening import Leaf

POINTS_PER_INCH = 72
WHITE = 0xFFFFFFFF


def rasterised(leaf: Leaf, dpi: int, limits: Limits) -> Image:
    """Render a page in grey.

    Raises:
        TooManyPixels: It would have more pixels than allowed; nothing was rendered.
    """
    page_width, page_height = leaf.page.get_size()
    width = max(1, math.ceil(page_width * dpi / POINTS_PER_INCH))
    height = max(1, math.ceil(page_height * dpi / POINTS_PER_INCH))
    if width * height > limits.max_pixels:
        raise TooManyPixels
    pixels = bytearray(width * height)
    # pdfium draws straight into our memory, so that no second copy of the page exists.
    memory = (ctypes.c_char * len(pixels)).from_buffer(pixels)
    bitmap = c.FPDFBitmap_CreateEx(width, height, c.FPDFBitmap_Gray, ctypes.cast(memory, ctypes.c_void_p), width)
    try:
        c.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, WHITE)
        flags = c.FPDF_ANNOT | c.FPDF_GRAYSCALE
        c.FPDF_RenderPageBitmap(bitmap, leaf.page.raw, 0, 0, width, height, 0, flags)
    finally:
        c.FPDFBitmap_Destroy(bitmap)
    return Image(
        document=leaf.document, page=leaf.number, width=width, height=height, channels=1, dpi=dpi, data=memoryview(pixels),
        page_width=page_width, page_height=page_height, unit="point", pages=leaf.count,
    )  # fmt: skip
