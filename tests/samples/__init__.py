"""Documents made at run time, always the same: for tests, the demo and the benchmarks.

texts        what is printed on them
pictures     PNG, JPEG, TIFF, WebP, BMP; huge ones and bombs
pdfs         PDF files, whole and broken
pdf_writer   the few lines of PDF that are needed
sample       what a sample is, and how text is compared
"""

from samples.pdfs import (
    PASSWORD,
    encrypted_pdf,
    pdf_of,
    pdf_with_one_bad_page,
    pdf_without_pages,
    rotated_pdf,
    scans,
    text_pdf,
    three_page_pdf,
    truncated,
    two_column_pdf,
    wide_pdf,
)
from samples.pictures import (
    bomb_png,
    huge_png,
    invoice_bmp,
    invoice_webp,
    letter_tiff,
    page_in,
    photo_jpeg,
    receipt_png,
    text_bomb_png,
    tiff_of,
    tiff_with_one_bad_page,
)
from samples.sample import Sample, character_error_rate, edit_distance

__all__ = [
    "PASSWORD",
    "Sample",
    "bomb_png",
    "character_error_rate",
    "edit_distance",
    "encrypted_pdf",
    "huge_png",
    "invoice_bmp",
    "invoice_webp",
    "letter_tiff",
    "page_in",
    "pdf_of",
    "pdf_with_one_bad_page",
    "pdf_without_pages",
    "photo_jpeg",
    "receipt_png",
    "rotated_pdf",
    "scans",
    "text_bomb_png",
    "text_pdf",
    "three_page_pdf",
    "tiff_of",
    "tiff_with_one_bad_page",
    "truncated",
    "two_column_pdf",
    "wide_pdf",
]
