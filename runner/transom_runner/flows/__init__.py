"""The built-in flows, by name. A flow chains actions; a plugin never calls another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from transom_runner.flow import Flow
from transom_runner.flows import ocr


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowEntry:
    """One flow: what it is called, what it needs, and how it is walked."""

    name: str
    summary: str
    needs: tuple[str, ...]
    """Actions without which it is not offered."""
    walk: Callable[[Flow], Awaitable[None]] = field(repr=False)


BY_NAME: Final[Mapping[str, FlowEntry]] = {
    flow.name: flow
    for flow in (
        FlowEntry(
            name="ocr.auto", summary="Read any document: a page's own text where it has one, OCR elsewhere", needs=ocr.NEEDS, walk=ocr.walk
        ),
    )
}
