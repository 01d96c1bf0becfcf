"""Process sample documents with a real server and a real runner, and prove that nothing of them was kept.

Exits with 0 only if the text is right and the proof holds. `--plant-leak` shows what it looks like when it does not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import proof
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from samples import Sample, character_error_rate, letter_tiff, receipt_png, three_page_pdf
from transom_client import Client, Ended, Outcome, PageDone
from transom_client.dev import DevFailed, DevServer

MOST_ERRORS = 0.02
FIRST_RESULT_S = 3.0
WHOLE_DEMO_S = 30.0


@dataclass(slots=True)
class Story:
    """What happened: pages as they came, outcomes, and when."""

    started: float = field(default_factory=time.monotonic)
    first_result_s: float = 0.0
    pages: list[tuple[Sample, PageDone]] = field(default_factory=list)
    outcomes: list[tuple[Sample, Outcome]] = field(default_factory=list)

    def elapsed_s(self) -> float:
        """Return the seconds since the processes were started."""
        return time.monotonic() - self.started


async def read(client: Client, sample: Sample, story: Story, console: Console) -> None:
    """Send one document and note its pages as they come."""
    async with aclosing(client.process(sample.data)) as events:
        async for event in events:
            if isinstance(event, PageDone):
                story.first_result_s = story.first_result_s or story.elapsed_s()
                story.pages.append((sample, event))
                console.print(f"[dim]{story.elapsed_s():6.2f} s[/]  {sample.name}, page {event.page.number}")
            elif isinstance(event, Ended):
                story.outcomes.append((sample, event.outcome))


def errors_of(sample: Sample, event: PageDone) -> float:
    """Return the character error rate of a page against what was printed on it."""
    return character_error_rate(sample.pages[event.page.number - 1], event.page.text)


def pages_table(story: Story) -> Table:
    """Show every page that was read."""
    table = Table(title="What was read")
    for column in ("document", "page", "engine"):
        table.add_column(column)
    for column in ("words", "confidence", "errors", "ms"):
        table.add_column(column, justify="right")
    table.add_column("first lines")
    for sample, event in sorted(story.pages, key=lambda one: (one[0].name, one[1].page.number)):
        page = event.page
        confidence = "-" if page.mean_confidence is None else f"{page.mean_confidence:.2f}"
        lines = escape(" / ".join(page.text.splitlines()[:2]))
        table.add_row(
            sample.name, str(page.number), page.engine, str(len(page.words)), confidence, f"{errors_of(sample, event):.2%}",
            f"{page.elapsed_ms:.0f}", lines,
        )  # fmt: skip
    return table


def show_proof(console: Console, story: Story, search: proof.Search, ledger: list[dict[str, object]]) -> None:
    """Show what was measured, searched and remembered."""
    evidence = [outcome.evidence for _, outcome in story.outcomes if outcome.evidence is not None]
    console.print("\n[bold]Proof that nothing was kept[/]")
    console.print(f"disk writes of {sum(one.processes for one in evidence)} executors and workers: ", end="")
    console.print(f"[bold]{sum(one.disk_write_blocks for one in evidence)}[/] blocks (ru_oublock, from their parent's wait4)")
    console.print(f"search of {search.files} files ({search.size_bytes:,} bytes) for {search.markers} markers, raw and encoded: ", end="")
    console.print(f"[bold]{len(search.found)}[/] found")
    for place in search.found:
        console.print(f"  [red]LEAK[/] {escape(place)}")
    console.print(ledger_table(ledger))


def ledger_table(rows: list[dict[str, object]]) -> Table:
    """Show the ledger's rows as they lie in its file, a column for each run."""
    table = Table(title="All that the ledger holds")
    table.add_column("column of the table `runs`")
    for number, _ in enumerate(rows, start=1):
        table.add_column(f"run {number}", justify="right")
    for name in rows[0] if rows else ():
        table.add_row(name, *(escape(str(row[name])) for row in rows))
    return table


def verdict(story: Story, samples: list[Sample], search: proof.Search) -> list[str]:
    """Name everything that is not as it must be."""
    wrong = [f"{sample.name} did not succeed" for sample, outcome in story.outcomes if not outcome.succeeded]
    if len(story.outcomes) != len(samples) or len(story.pages) != sum(len(sample.pages) for sample in samples):
        wrong.append("a document or page is missing")
    wrong += [
        f"the text of {sample.name}, page {event.page.number} is wrong"
        for sample, event in story.pages
        if errors_of(sample, event) > MOST_ERRORS
    ]
    if any(outcome.evidence is None or outcome.evidence.disk_write_blocks for _, outcome in story.outcomes):
        wrong.append("a process wrote to disk, or was not measured")
    if search.found or not search.files:
        wrong.append("content was found in a file")
    return wrong


async def demo(folder: Path, *, plant_leak: bool, console: Console) -> int:
    """Run the whole demo; returns the exit code."""
    samples = [three_page_pdf(), receipt_png(), letter_tiff()]
    before = time.time()
    story = Story()
    async with DevServer(folder / "state", server_log=folder / "server.log", runner_log=folder / "runner.log") as dev:
        console.print(f"[dim]{story.elapsed_s():6.2f} s[/]  server and runner are up, with a trust domain of their own")
        async with Client(dev.profile) as client, asyncio.TaskGroup() as reading:
            for sample in samples:
                reading.create_task(read(client, sample, story, console))
        if plant_leak:
            proof.plant(folder / "state" / "debug.log", samples[0])
        search = proof.search(folder, samples, since=before)
        ledger = proof.ledger(folder / "state" / "ledger.db")
    # What is written at shutdown counts too.
    search = search.joined(proof.search(folder, samples, since=before))
    console.print(pages_table(story))
    show_proof(console, story, search, ledger)
    console.print(f"\nfirst result after {story.first_result_s:.1f} s (aim: {FIRST_RESULT_S:.0f} s), ", end="")
    console.print(f"everything after {story.elapsed_s():.1f} s (aim: {WHOLE_DEMO_S:.0f} s)")
    wrong = verdict(story, samples, search)
    for one in wrong:
        console.print(f"[bold red]failed:[/] {escape(one)}")
    if not wrong:
        console.print("[bold green]passed:[/] the text is right, and nothing was kept")
    return 1 if wrong else 0


def main() -> int:
    """Make a folder for everything that is written, and run the demo in it."""
    parser = argparse.ArgumentParser(description="process sample documents and prove that nothing was kept")
    parser.add_argument("--plant-leak", action="store_true", help="write content to a file, to see the proof fail")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    with tempfile.TemporaryDirectory(prefix="transom-demo-") as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        # Whatever server and runner might write as a temporary file lands where it is searched for.
        os.environ["TMPDIR"] = str(folder / "tmp")
        try:
            return asyncio.run(demo(folder, plant_leak=options.plant_leak, console=console))
        except DevFailed as error:
            console.print(f"[bold red]failed:[/] {escape(str(error))}")
            return 1


if __name__ == "__main__":
    raise SystemExit(main())
