"""The contract kit turns red for each rule that a plugin breaks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from transom_plugin.testing import Breach, Contract

MANIFEST = """
[plugin]
id = "broken"
version = "1"

[[action]]
name = "broken.read"
summary = "Read"
kind = "engine"
accepts = "document"
produces = "page"
media_types = ["text/plain"]
persistence = "none"
"""
GOOD = """
import sys
import threading
import time

from transom_plugin import Document, DocumentDamaged, DocumentEmpty, Page, Span, Word, hookimpl

BOX = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)


@hookimpl
def transom_warm():
    pass


@hookimpl
def transom_run(action, inputs, context):
    return read(inputs, context) if action == "broken.read" else None


def read(inputs, context):
    for document in inputs:
        context.check()
        if not document.data:
            raise DocumentEmpty
        try:
            words = tuple(Word(text=text, polygon=BOX, confidence=0.5) for text in bytes(document.data).decode().split())
        except UnicodeDecodeError:
            raise DocumentDamaged from None
        for number in (1, 2):
            context.check()
            yield Page(document=document.index, number=number, engine=action_name, width=1, height=1,
                       words=words, lines=(Span(0, len(words)),), blocks=(Span(0, len(words)),))


action_name = "broken.read"
"""
BREAKS = {
    "a warm that leaves a thread": ("    pass\n", "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n", "threads"),
    "a warm that prints": ("    pass\n", "    print('hello')\n", "must not print"),
    "a warm that fails": ("    pass\n", "    raise ValueError\n", "transom_warm failed: ValueError"),
    "an action without an answer": ('== "broken.read"', '== "broken.other"', "returns None"),
    "an answer to every action": (' if action == "broken.read" else None', "", "must return None"),
    "a call that prints": ("        if not document.data:", "        print('x')\n        if not document.data:", "prints"),
    "an empty document that is taken": ("            raise DocumentEmpty", "            return", "empty document"),
    "garbage that raises something else": ("except UnicodeDecodeError", "except ZeroDivisionError", "raises UnicodeDecodeError"),
    "page numbers that do not ascend": ("for number in (1, 2)", "for number in (2, 1)", "ascend"),
    "another engine": ('action_name = "broken.read"', 'action_name = "other"', "engine"),
    "a polygon out of the page": ("(0.0, 0.0, 1.0,", "(0.0, 0.0, 7.0,", "polygon"),
    "a confidence in percent": ("confidence=0.5", "confidence=50", "confidence"),
    "lines beyond the words": ("lines=(Span(0, len(words)),)", "lines=(Span(0, len(words) + 1),)", "words"),
    "no look at the clock": ("context.check()", "pass", "goes on when"),
    "a misspelt hook": ("def transom_warm", "def transom_worm", "cannot be loaded"),
    "another document's number": ("document=document.index", "document=0", "belongs to document"),
}


def contract(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str, number: int) -> Contract:
    name = f"broken_plugin_{number}"
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text(source, encoding="utf-8")
    (package / "transom-plugin.toml").write_text(MANIFEST, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop(name, None)
    return Contract(name, samples={"text/plain": b"three plain words"})


def test_a_plugin_that_keeps_every_rule_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract(tmp_path, monkeypatch, GOOD, 0).check()


@pytest.mark.parametrize("case", BREAKS, ids=str)
def test_a_broken_rule_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    good, bad, told = BREAKS[case]
    assert good in GOOD
    broken = contract(tmp_path, monkeypatch, GOOD.replace(good, bad), 1 + list(BREAKS).index(case))
    with pytest.raises(Breach, match=told):
        broken.check()
