"""`tesseract.read`: every format, every trap of images, and the text right."""

from __future__ import annotations

from typing import Any

import pytest
from samples import (
    Sample,
    bomb_png,
    character_error_rate,
    huge_png,
    invoice_bmp,
    invoice_webp,
    letter_tiff,
    photo_jpeg,
    receipt_png,
    text_bomb_png,
    three_page_pdf,
    tiff_of,
    tiff_with_one_bad_page,
    truncated,
)
from transom_plugin import BadParameters, DocumentDamaged, DocumentEmpty, Limits, MediaTypeMismatch, Page, TooManyPages, TooManyPixels
from transom_plugin.testing import Contract

from plugins.calling import outputs, pages

MODULE, ACTION = "transom_plugin_tesseract", "tesseract.read"
CLEAN = [letter_tiff(), photo_jpeg(), invoice_webp(), invoice_bmp(), receipt_png()]


def read(sample: Sample, **more: Any) -> list[Page]:
    return pages(MODULE, ACTION, sample, **more)


def test_the_plugin_keeps_the_contract() -> None:
    Contract(MODULE, samples={sample.media_type: sample.data for sample in CLEAN}).check()


@pytest.mark.parametrize("sample", CLEAN, ids=lambda sample: sample.name)
def test_the_text_is_right(sample: Sample) -> None:
    found = read(sample)
    assert len(found) == len(sample.pages)
    for page, truth in zip(found, sample.pages, strict=True):
        assert character_error_rate(truth, page.text) <= 0.02
        assert page.mean_confidence is not None
        assert page.mean_confidence > 0.7


def test_a_picture_that_lies_on_its_side_is_read_upright() -> None:
    [page] = read(photo_jpeg())
    assert page.rotation == 90
    # On the page as submitted, the text runs from top to bottom or from bottom to top.
    long_word = max(page.words, key=lambda word: len(word.text))
    xs, ys = long_word.polygon[0::2], long_word.polygon[1::2]
    assert (max(ys) - min(ys)) * page.height > (max(xs) - min(xs)) * page.width


def test_a_bad_page_among_good_ones_is_reported_as_such() -> None:
    assert [page.error.reason if page.error else "" for page in read(tiff_with_one_bad_page())] == ["", "PAGE_UNREADABLE", ""]


def test_pages_can_be_selected() -> None:
    assert [page.number for page in read(letter_tiff(), pages="2")] == [2]


def lying(sample: Sample, media_type: str) -> Sample:
    return Sample(name="lying", media_type=media_type, data=sample.data, pages=())


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        (huge_png(), TooManyPixels),
        (bomb_png(), TooManyPixels),
        (text_bomb_png(), DocumentDamaged),
        (truncated(receipt_png()), DocumentDamaged),
        (lying(receipt_png(), "image/jpeg"), MediaTypeMismatch),
        (lying(three_page_pdf(), "image/png"), MediaTypeMismatch),
        (Sample(name="empty", media_type="image/png", data=b"", pages=()), DocumentEmpty),
    ],
    ids=["huge", "bomb", "text bomb", "truncated", "png as jpeg", "pdf as png", "empty"],
)
def test_a_bad_document_is_refused(sample: Sample, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(sample)


def test_too_many_pages_are_refused() -> None:
    with pytest.raises(TooManyPages):
        read(tiff_of(5), limits=Limits(max_pages=4))


@pytest.mark.parametrize("language", ["xyz", "eng+xyz"])
def test_a_language_that_is_not_there_is_refused(language: str) -> None:
    with pytest.raises(BadParameters):
        outputs(MODULE, ACTION, receipt_png(), language=language)
