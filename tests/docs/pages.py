"""The pages of the documentation, and what can be read from them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def dead_links(page: Path, content: str) -> list[str]:
    links = [link for link in LINK.findall(content) if "://" not in link]
    return [link for link in links if not (page.parent / link).exists()]


def fences(content: str, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(content) if kind == language]


def commands(content: str) -> list[str]:
    """What a reader is told to type at a shell, in blocks of kind `console`."""
    return [line[2:] for body in fences(content, "console") for line in body.splitlines() if line.startswith("$ ")]


def codes(content: str) -> set[str]:
    return set(CODE.findall(content))
