"""Samples that are PDF files."""

from __future__ import annotations

from samples.pdf_writer import PdfWriter, column
from samples.pictures import rendered, saved
from samples.sample import Sample
from samples.texts import invoice, letter, printed

MEDIA_TYPE = "application/pdf"
PASSWORD = "open sesame"


def three_page_pdf() -> Sample:
    """Page 1 has a text layer, pages 2 and 3 are scans."""
    texts = [invoice(1), invoice(2), invoice(3)]
    writer = PdfWriter()
    writer.text_page(column(texts[0]))
    scan(writer, texts[1], jpeg=False)
    scan(writer, texts[2], jpeg=True)
    return sample("three-pages.pdf", writer, texts)


def scans(count: int) -> Sample:
    """As many scanned pages, all different."""
    texts = [invoice(100 + index) for index in range(count)]
    writer = PdfWriter()
    for lines in texts:
        scan(writer, lines, jpeg=True)
    return sample(f"scans-{count}.pdf", writer, texts)


def text_pdf(count: int = 1) -> Sample:
    """As many pages with a text layer."""
    texts = [invoice(index) for index in range(count)]
    writer = PdfWriter()
    for lines in texts:
        writer.text_page(column(lines))
    return sample(f"text-{count}.pdf", writer, texts)


def two_column_pdf() -> Sample:
    """A heading over two columns, which are read one after the other."""
    left, right = [f"left line number {index}" for index in range(8)], [f"right line number {index}" for index in range(8)]
    writer = PdfWriter()
    beside = [line for pair in zip(column(left, 60, 700, 13), column(right, 330, 700, 13), strict=True) for line in pair]
    writer.text_page([(60, 780, "A heading over both columns of the page"), *beside])
    return sample("columns.pdf", writer, [["A heading over both columns of the page", *left, *right]])


def rotated_pdf() -> Sample:
    """A text page that its viewer turns by 90 degrees."""
    lines = letter(9)
    writer = PdfWriter()
    writer.text_page(column(lines), extra="/Rotate 90")
    return sample("rotated.pdf", writer, [lines])


def encrypted_pdf() -> Sample:
    """Nothing without its password."""
    writer = PdfWriter(PASSWORD)
    writer.text_page(column(letter(10)))
    return sample("locked.pdf", writer, [])


def pdf_without_pages() -> Sample:
    return sample("no-pages.pdf", PdfWriter(), [])


def pdf_of(count: int) -> Sample:
    """As many blank pages."""
    writer = PdfWriter()
    for _ in range(count):
        writer.page()
    return sample(f"blank-{count}.pdf", writer, [[]] * count)


def pdf_with_one_bad_page() -> Sample:
    """Three pages, of which the second is not there."""
    texts = [letter(11), [], letter(12)]
    writer = PdfWriter()
    writer.text_page(column(texts[0]))
    writer.missing_page()
    writer.text_page(column(texts[2]))
    return sample("bad-page.pdf", writer, texts)


def wide_pdf(points: int = 14_000) -> Sample:
    """A page so large that its picture would have too many pixels, between two ordinary ones."""
    texts = [letter(13), [], letter(14)]
    writer = PdfWriter()
    writer.text_page(column(texts[0]))
    writer.page(box=(points, points))
    writer.text_page(column(texts[2]))
    return sample("wide.pdf", writer, texts)


def truncated(whole: Sample, part: float = 0.5) -> Sample:
    """The first part of another sample."""
    data = whole.data[: int(len(whole.data) * part)]
    return Sample(name=f"cut-{whole.name}", media_type=whole.media_type, data=data)


def scan(writer: PdfWriter, lines: list[str], *, jpeg: bool) -> None:
    page = rendered(lines)
    writer.image_page(page.width, page.height, saved(page, "JPEG", quality=85) if jpeg else page.tobytes(), jpeg=jpeg)


def sample(name: str, writer: PdfWriter, texts: list[list[str]]) -> Sample:
    return Sample(name=name, media_type=MEDIA_TYPE, data=writer.finished(), pages=tuple(printed(lines) for lines in texts))
