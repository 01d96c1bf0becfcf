"""`pdf.pages`: text where the file has it, images elsewhere, and what is wrong with a file."""

from __future__ import annotations

from typing import Any

import pytest
from samples import (
    Sample,
    character_error_rate,
    encrypted_pdf,
    pdf_of,
    pdf_with_one_bad_page,
    pdf_without_pages,
    receipt_png,
    rotated_pdf,
    text_pdf,
    three_page_pdf,
    truncated,
    two_column_pdf,
    wide_pdf,
)
from transom_plugin import BadParameters, DocumentDamaged, DocumentEmpty, DocumentEncrypted, Limits, MediaTypeMismatch, Page, TooManyPages
from transom_plugin.testing import Contract

from plugins.calling import images, outputs, pages

MODULE, ACTION = "transom_plugin_pdf", "pdf.pages"


def test_the_plugin_keeps_the_contract() -> None:
    Contract(MODULE, samples={"application/pdf": three_page_pdf().data}).check()


def split(sample: Sample, **more: Any) -> list[Any]:
    return outputs(MODULE, ACTION, sample, **more)


def test_a_page_with_text_comes_as_text_and_others_as_images() -> None:
    sample = three_page_pdf()
    first, *others = split(sample)
    assert isinstance(first, Page)
    assert first.text_source == "digital"
    assert first.mean_confidence is None
    assert character_error_rate(sample.pages[0], first.text) == 0
    assert [image.page for image in images(others)] == [2, 3]
    assert {image.dpi for image in images(others)} == {200}


@pytest.mark.parametrize("sample", [two_column_pdf(), rotated_pdf(), text_pdf(3)], ids=lambda sample: sample.name)
def test_text_comes_in_reading_order(sample: Sample) -> None:
    for page, truth in zip(pages(MODULE, ACTION, sample), sample.pages, strict=True):
        assert character_error_rate(truth, page.text) == 0


def test_pages_can_be_selected_and_the_text_layer_left_alone() -> None:
    found = split(three_page_pdf(), pages="1,3", text_layer="never", dpi=100)
    assert [image.page for image in images(found)] == [1, 3]
    assert {image.dpi for image in images(found)} == {100}


@pytest.mark.parametrize("selection", ["4", "0", "x", "1-", "9-2"])
def test_a_selection_of_no_page_is_refused(selection: str) -> None:
    with pytest.raises(BadParameters):
        split(three_page_pdf(), pages=selection)


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        (encrypted_pdf(), DocumentEncrypted),
        (truncated(three_page_pdf(), 0.3), DocumentDamaged),
        (pdf_without_pages(), DocumentEmpty),
        (receipt_png(), MediaTypeMismatch),
        (Sample(name="empty", media_type="application/pdf", data=b"", pages=()), DocumentEmpty),
    ],
    ids=["encrypted", "truncated", "no pages", "another type", "empty"],
)
def test_a_bad_document_is_refused(sample: Sample, error: type[Exception]) -> None:
    with pytest.raises(error):
        split(sample)


def test_too_many_pages_are_refused_before_any_is_read() -> None:
    with pytest.raises(TooManyPages):
        split(pdf_of(10_000), limits=Limits(max_pages=100))
    assert len(split(pdf_of(10_000), limits=Limits(max_pages=100), pages="1-3")) == 3


def test_a_bad_page_among_good_ones_is_reported_as_such() -> None:
    for sample, reason in ((pdf_with_one_bad_page(), "PAGE_UNREADABLE"), (wide_pdf(), "TOO_MANY_PIXELS")):
        reasons = [page.error.reason if page.error else "" for page in pages(MODULE, ACTION, sample)]
        assert reasons == ["", reason, ""]
