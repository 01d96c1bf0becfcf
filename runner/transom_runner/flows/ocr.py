"""`ocr.auto`: the text layer where a page has one, OCR where it has none, pages in parallel."""

from __future__ import annotations

import asyncio
from typing import Final

from transom_runner.flow import Call, CallFailed, Flow
from transom_runner.frames import Head, PageRead, PartMade, Pixels

SPLIT: Final = "pdf.pages"
READ: Final = "tesseract.read"
NEEDS: Final = (SPLIT, READ)
PDF: Final = "application/pdf"

Scan = tuple[Pixels, bytes]


async def walk(flow: Flow) -> None:
    """Read every document.

    Raises:
        CallFailed: The only document cannot be read. Among several, a document that cannot be read is reported as its page 0.
    """
    for head, data in flow.documents:
        try:
            await (_pdf if head.media_type == PDF else _image)(flow, head, data)
        except CallFailed as failed:
            if len(flow.documents) == 1:
                raise
            await flow.emit(PageRead(document=head.index, page=0, pages=0, engine=READ, reason=failed.reason))


async def _image(flow: Flow, head: Head, data: memoryview) -> None:
    async with await flow.call(READ, flow.chosen("language", "psm", "pages"), [head]) as call:
        await call.send_document(head, data)
        while (output := await call.receive()) is not None:
            await _pass_on(flow, output)


async def _pdf(flow: Flow, head: Head, data: memoryview) -> None:
    """Let one worker split the document while others read its scanned pages."""
    async with await flow.call(SPLIT, flow.chosen("dpi", "pages", "text_layer"), [head]) as split:
        await split.send_document(head, data)
        # One scan waits at most: more would only fill memory.
        scans: asyncio.Queue[Scan | None] = asyncio.Queue(maxsize=1)
        failure: CallFailed | None = None
        async with asyncio.TaskGroup() as lanes:
            started = 0
            try:
                while (output := await split.receive()) is not None:
                    if not isinstance(output[0], Pixels):
                        await _pass_on(flow, output)
                        continue
                    if started < flow.lanes:
                        started += 1
                        lanes.create_task(_lane(flow, scans), name=f"lane {started}")
                    await scans.put((output[0], output[1]))
            except CallFailed as error:
                # The pages that are being read are still worth having.
                failure = error
            for _ in range(started):
                await scans.put(None)
    if failure is not None:
        raise failure


async def _lane(flow: Flow, scans: asyncio.Queue[Scan | None]) -> None:
    """Read scans one after the other; a worker that dies takes its page with it, and no other."""
    call: Call | None = None
    while (scan := await scans.get()) is not None:
        frame, pixels = scan
        try:
            call = call or await flow.call(READ, flow.chosen("language", "psm"))
            await call.send(frame, pixels)
            output = await call.receive()
            if output is None:
                raise CallFailed("PLUGIN_FAILED")
            await _pass_on(flow, output)
            keep = call.shares_pages
        except CallFailed as failed:
            reason = failed.reason
            await flow.emit(PageRead(document=frame.document, page=frame.page, pages=frame.pages, engine=READ, reason=reason))
            keep = False
        if call is not None and not keep:
            call.close()
            call = None
    if call is not None:
        call.close()


async def _pass_on(flow: Flow, output: tuple[object, bytes]) -> None:
    frame, attachment = output
    if not isinstance(frame, (PageRead, PartMade)):
        raise CallFailed("PLUGIN_FAILED")
    await flow.emit(frame, attachment)
