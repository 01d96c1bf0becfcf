"""Documents that nobody wants, sent through the real server and runner: each is told apart, and work goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from samples import (
    Sample,
    bomb_png,
    encrypted_pdf,
    huge_png,
    pdf_of,
    pdf_with_one_bad_page,
    pdf_without_pages,
    receipt_png,
    text_bomb_png,
    three_page_pdf,
    tiff_with_one_bad_page,
    truncated,
)
from transom_client import Client, Document, RunState

from e2e.site import live

PAGES_AT_MOST = 500


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """After the test, an honest document must still be read, and no log may hold a word of what was sent."""
    async with live(tmp_path, runner_settings={"max_pages": PAGES_AT_MOST}) as dev, Client(dev.profile) as client:
        yield client
        honest = receipt_png()
        result = (await client.run(honest.data)).check()
        assert result.text().split() == honest.pages[0].split()
    logs = (tmp_path / "server.log").read_text() + (tmp_path / "runner.log").read_text()
    assert logs
    assert not [line for line in honest.pages[0].splitlines() if line in logs]


BAD: dict[str, tuple[Callable[[], Sample], str]] = {
    "encrypted": (encrypted_pdf, "DOCUMENT_ENCRYPTED"),
    "truncated pdf": (lambda: truncated(three_page_pdf(), 0.3), "DOCUMENT_DAMAGED"),
    "truncated png": (lambda: truncated(receipt_png()), "DOCUMENT_DAMAGED"),
    "no pages": (pdf_without_pages, "DOCUMENT_EMPTY"),
    "too many pages": (lambda: pdf_of(10_000), "TOO_MANY_PAGES"),
    "50,000 x 50,000": (huge_png, "TOO_MANY_PIXELS"),
    "pixel bomb": (bomb_png, "TOO_MANY_PIXELS"),
    "text bomb": (text_bomb_png, "DOCUMENT_DAMAGED"),
}


async def test_bad_documents_are_told_apart_and_work_goes_on(client: Client) -> None:
    told = {}
    for name, (make, _) in BAD.items():
        sample = make()
        result = await client.run(Document(source=sample.data, media_type=sample.media_type), timeout_s=60)
        assert result.outcome.state is RunState.FAILED, name
        assert result.outcome.error is not None
        told[name] = result.outcome.error.reason
    assert told == {name: reason for name, (_, reason) in BAD.items()}


async def test_a_media_type_that_lies_is_refused(client: Client) -> None:
    for declared, sample in (("application/pdf", receipt_png()), ("image/png", three_page_pdf()), ("image/jpeg", receipt_png())):
        result = await client.run(Document(source=sample.data, media_type=declared))
        assert result.outcome.error is not None
        assert result.outcome.error.reason == "MEDIA_TYPE_MISMATCH"


@pytest.mark.parametrize("make", [pdf_with_one_bad_page, tiff_with_one_bad_page])
async def test_a_bad_page_among_good_ones_is_partial_success(client: Client, make: Callable[[], Sample]) -> None:
    sample = make()
    result = await client.run(Document(source=sample.data, media_type=sample.media_type))
    assert result.outcome.succeeded
    assert (result.outcome.pages, result.outcome.pages_failed) == (2, 1)
    errors = [one.page.error.reason if one.page.error else "" for one in result.pages]
    assert errors == ["", "PAGE_UNREADABLE", ""]


async def test_a_bad_document_among_good_ones_is_its_page_zero(client: Client) -> None:
    good, bad = receipt_png(), encrypted_pdf()
    result = await client.run([Document(source=one.data, media_type=one.media_type) for one in (bad, good)])
    assert result.outcome.succeeded
    assert [(one.document, one.page.number) for one in result.pages] == [(0, 0), (1, 1)]
    assert result.pages[0].page.error is not None
    assert result.pages[0].page.error.reason == "DOCUMENT_ENCRYPTED"
