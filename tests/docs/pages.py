"""The pages of the documentation, and what can be read from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PROMPT = "$ "
LANGUAGES = {"console", "text", "toml", "python"}
"""What a block may be. Every line of `console` is run; nothing else may look as if it were to be typed at a prompt."""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def codes(content: str) -> set[str]:
    return set(CODE.findall(content))


def fences(content: str, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(content) if kind == language]


def prose(content: str) -> str:
    return FENCE.sub("", content)


def column(content: str, number: int = 0) -> list[str]:
    """Return the codes in one column of every table."""
    return [code for row in rows(content) for code in CODE.findall(row[number])]


def rows(content: str) -> list[list[str]]:
    """Return the cells of every table's rows, without the heads."""
    lines = [line for line in prose(content).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"\s\|(?=\s)", line.strip().strip("|"))] for line in lines]
    rules = {at for at, line in enumerate(lines) if set(line) <= set("|- ")}
    return [row for at, row in enumerate(cells) if at not in rules and at + 1 not in rules]


def section(content: str, heading: str) -> str:
    """Return what stands below a heading, up to the next of its own rank or above."""
    rank = re.match(r"#+", heading)
    assert rank is not None
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(rank[0])}}} |\Z)", content, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


# Links.


def anchors(content: str) -> set[str]:
    """Return the anchors of a page's headings, as renderers make them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(content))}


def dead_links(page: Path, content: str) -> list[str]:
    dead = []
    for link in LINK.findall(prose(content)):
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        if "://" not in link and (not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8")))):
            dead.append(link)
    return dead


# Comparing what is told with what is there.


def difference(told: Iterable[str], known: Iterable[str]) -> dict[str, set[str]]:
    """Return what is told and not there, and what is there and not told; empty when all is well."""
    told, known = set(told), set(known)
    return {what: names for what, names in (("not there", told - known), ("not told", known - told)) if names}


# Commands.


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a reader is told to type, and the first line of what he is told to expect."""

    line: str
    shows: str


def left_out(content: str) -> list[str]:
    """Return lines of a page that look as if they were to be typed, and that nothing would run."""
    found, block = [], ""
    for line in content.splitlines():
        fence = re.match(r"[ >]*(?:```|~~~)(.*)", line)
        if fence is not None:
            opened = not block and line.startswith("```") and fence[1] in LANGUAGES
            found += [] if opened or (block and line == "```") else [line]
            block = "" if block else fence[1] or "unknown"
        elif line.lstrip().startswith(("$", "%", "> ", "# ") if block == "console" else PROMPT):
            # A command that goes on in the next line would lose its end.
            found += [] if block == "console" and line.startswith(PROMPT) and not line.endswith("\\") else [line]
    return found


def commands(block: str) -> list[Command]:
    found: list[Command] = []
    for line in block.splitlines():
        if line.startswith(PROMPT):
            found.append(Command(line=line.removeprefix(PROMPT), shows=""))
        elif found and not found[-1].shows:
            found[-1] = Command(line=found[-1].line, shows=line)
    return found
