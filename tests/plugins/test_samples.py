"""The samples are the same every time, and text is compared as it should be."""

from __future__ import annotations

import random
from collections.abc import Callable

import pypdfium2
import pytest
import samples
from samples import Sample, character_error_rate, edit_distance


def slow_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row = row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def test_the_edit_distance_is_that_of_the_textbook() -> None:
    choice = random.Random(5)
    for _ in range(300):
        one, other = ("".join(choice.choices("abc ", k=choice.randrange(90))) for _ in range(2))
        assert edit_distance(one, other) == slow_distance(one, other)


@pytest.mark.parametrize(
    ("truth", "text", "rate"),
    [("a b", "a  \n b", 0), ("abcd", "abxd", 0.25), ("abcd", "", 1), ("", "", 0), ("", "x", 1), ("ab", "abab", 1)],
)
def test_the_error_rate_counts_characters_and_not_white_space(truth: str, text: str, rate: float) -> None:
    assert character_error_rate(truth, text) == rate


@pytest.mark.parametrize(
    "make",
    [samples.receipt_png, samples.letter_tiff, samples.photo_jpeg, samples.three_page_pdf, samples.encrypted_pdf, lambda: samples.scans(2)],
    ids=["receipt", "letter", "photo", "three pages", "encrypted", "scans"],
)
def test_a_sample_is_the_same_every_time(make: Callable[[], Sample]) -> None:
    assert make() == make()


def test_scans_are_all_different() -> None:
    assert len(set(samples.scans(4).pages)) == 4


def test_the_encrypted_pdf_opens_with_its_password() -> None:
    with pypdfium2.PdfDocument(samples.encrypted_pdf().data, password=samples.PASSWORD) as pdf:
        assert pdf[0].get_textpage().get_text_range().startswith("Harbour Freight Agency")


def test_a_sample_does_not_show_its_text() -> None:
    assert repr(samples.text_pdf()) == f"Sample(text-1.pdf, application/pdf, {len(samples.text_pdf().data)} bytes, 1 pages)"
