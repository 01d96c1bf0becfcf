"""Transom's Python SDK and command line.

    async with Client() as client:
        async for event in client.process(Path("scan.pdf")):
            ...

`client` is the front door; `submission` carries one run, over a `line` of the one `stream` of a `connection`.
"""

from transom_client.client import Client, Result
from transom_client.documents import Document
from transom_client.events import Accepted, AttemptStarted, Ended, Event, Outcome, PageDone, PartDone, Progress, Queued
from transom_client.pages import Page, Word, WordRange
from transom_client.profile import Profile
from transom_client.states import Containment, Persistence, Replay, RunState, SideEffects

__all__ = [
    "Accepted",
    "AttemptStarted",
    "Client",
    "Containment",
    "Document",
    "Ended",
    "Event",
    "Outcome",
    "Page",
    "PageDone",
    "PartDone",
    "Persistence",
    "Profile",
    "Progress",
    "Queued",
    "Replay",
    "Result",
    "RunState",
    "SideEffects",
    "Word",
    "WordRange",
]
