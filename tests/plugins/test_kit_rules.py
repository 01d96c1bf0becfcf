"""Each rule for outputs, manifests and what a plugin leaves behind turns red by itself."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from transom_plugin import DocumentDamaged, DocumentError, Image, Output, Page, Part, Span, Word
from transom_plugin.manifest import ActionEntry
from transom_plugin.testing import Breach, Contract
from transom_plugin.testing.capture import watched
from transom_plugin.testing.rules import check_outputs
from transom_plugin.testing.warmth import measured

from plugins.test_kit import GOOD, MANIFEST, contract

BOX = (0.1, 0.1, 0.2, 0.1, 0.2, 0.2, 0.1, 0.2)
WORDS = (Word(text="plain", polygon=BOX, confidence=0.5), Word(text="words", polygon=BOX))
PAGE = Page(document=0, number=1, engine="words.read", width=10, height=10, words=WORDS, lines=(Span(0, 2),), blocks=(Span(0, 2),))
IMAGE = Image(
    document=0, page=1, width=2, height=1, channels=3, dpi=72, data=memoryview(b"123456"), page_width=2, page_height=1, unit="pixel"
)
PART = Part(document=0, media_type="text/plain", data=b"3")


class Invented(DocumentError):
    reason: ClassVar[str] = "LOOKS_BAD"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Talkative(Page):
    def __repr__(self) -> str:
        return self.text


def action(produces: Any = "page") -> ActionEntry:
    return ActionEntry(name="words.read", summary="", kind="engine", accepts="document", produces=produces)


def worded(**changes: Any) -> Page:
    return dataclasses.replace(PAGE, words=(dataclasses.replace(WORDS[0], **changes), WORDS[1]))


def test_outputs_that_keep_the_rules_pass() -> None:
    check_outputs(action(), 0, [PAGE, dataclasses.replace(PAGE, number=3), Page.failed(0, 4, "words.read", DocumentDamaged())])
    check_outputs(action("pages"), 0, [PAGE, dataclasses.replace(IMAGE, page=2)])
    check_outputs(action("part"), 0, [PART, PART])


@pytest.mark.parametrize(
    ("produces", "output", "told"),
    [
        ("page", PART, "manifest says page"),
        ("part", dataclasses.replace(PART, media_type=""), "media type"),
        ("page", dataclasses.replace(PAGE, number=0), "ascend from 1"),
        ("page", dataclasses.replace(PAGE, rotation=45), "rotation"),
        ("page", dataclasses.replace(PAGE, width=0), "width and height"),
        ("page", dataclasses.replace(PAGE, elapsed_ms=-1), "never negative"),
        ("page", dataclasses.replace(PAGE, error=DocumentDamaged()), "has no words"),
        ("page", dataclasses.replace(PAGE, words=(), lines=(), error=Invented()), "reason"),
        ("page", worded(text=""), "text must be there"),
        ("page", worded(text="a "), "white space"),
        ("page", worded(polygon=BOX[:4]), "8 numbers"),
        ("page", worded(polygon=(*BOX[:7], float("nan"))), "0..1"),
        ("page", worded(polygon=(*BOX[:7], -0.1)), "0..1"),
        ("page", worded(confidence=1.01), "confidence"),
        ("page", dataclasses.replace(PAGE, lines=(Span(0, 0), Span(0, 2))), "lines must not be empty"),
        ("page", dataclasses.replace(PAGE, lines=(Span(0, 2), Span(1, 1))), "not overlap"),
        ("page", dataclasses.replace(PAGE, lines=(Span(0, 1),)), "missing in the text"),
        ("page", dataclasses.replace(PAGE, blocks=(Span(1, 2),)), "blocks must lie within"),
        ("page", Talkative(**{one.name: getattr(worded(text="confidential"), one.name) for one in dataclasses.fields(Page)}), "repr"),
        ("image", dataclasses.replace(IMAGE, channels=4), "channels"),
        ("image", dataclasses.replace(IMAGE, width=0), "width and height"),
        ("image", dataclasses.replace(IMAGE, height=2), "width \\* height"),
        ("image", dataclasses.replace(IMAGE, dpi=0), "dpi"),
    ],
)
def test_an_output_that_breaks_a_rule_is_noticed(produces: str, output: Output, told: str) -> None:
    with pytest.raises(Breach, match=told) as breach:
        check_outputs(action(produces), 0, [output])
    assert "confidential" not in str(breach.value)


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ('media_types = ["text/plain"]', "", "media_types is needed"),
        ('["text/plain"]', '["Text/plain"]', "must look like image/png"),
        ('persistence = "none"', 'persistence = "none"\nhosts = ["example.com"]', "hosts must look like"),
        ('persistence = "none"', 'persistence = "none"\nparameters = {type = "object"}', "additionalProperties = false"),
        ('summary = "Read"', "", "summary is missing"),
        ('["text/plain"]', '["text/plain", "text/html"]', "give a sample of text/html"),
        ('produces = "page"', 'produces = "part"', "manifest says part"),
    ],
)
def test_a_manifest_that_does_not_fit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: str, bad: str, told: str) -> None:
    assert good in MANIFEST
    broken = contract(tmp_path, monkeypatch, GOOD, 900)
    (tmp_path / "broken_plugin_900" / "transom-plugin.toml").write_text(MANIFEST.replace(good, bad), encoding="utf-8")
    with pytest.raises(Breach, match=told):
        broken.check()


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("    pass\n", "    import os; os.open(os.devnull, os.O_RDONLY)\n", "1 open files"),
        ("    pass\n", "    import os; os._exit(3)\n", "exit code 3"),
        ("    pass\n", "    import os; os.write(2, b'hello')\n", "must not print"),
        ("(1, 2)", "()", "answers nothing"),
        ("raise DocumentEmpty", "raise ValueError", "raises ValueError"),
        ("raise DocumentEmpty", "raise SecretMissing", "answers SECRET_MISSING"),
        ("for number in (1, 2):", "import os; os.write(1, b'x')\n        for number in (1, 2):", "prints"),
        ("import sys\n", "import no_such_module_anywhere\n", "cannot be loaded"),
    ],
)
def test_a_plugin_that_misbehaves_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: str, bad: str, told: str) -> None:
    source = GOOD.replace("DocumentEmpty, Page", "DocumentEmpty, SecretMissing, Page")
    assert good in source
    with pytest.raises(Breach, match=told):
        contract(tmp_path, monkeypatch, source.replace(good, bad), 901).check()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not list a process's children")
def test_a_warm_that_leaves_a_child_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The child waits for its parent's end, which closes the pipe.
    bad = "    import os\n    r, w = os.pipe()\n    if os.fork() == 0:\n        os.close(w)\n        os.read(r, 1)\n        os._exit(0)\n"
    contract(tmp_path, monkeypatch, GOOD.replace("    pass\n", bad), 902)
    left = measured("broken_plugin_902", ["broken.read"])
    assert (left.children, left.threads, left.files, left.failure) == (1, 0, 2, "")


def test_each_rule_can_be_run_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [check.__name__ for check in contract(tmp_path, monkeypatch, GOOD, 903).checks()]
    assert names == [name for name in vars(Contract) if name.startswith("check_")]


def test_printing_is_counted_and_swallowed_on_every_road(capfd: pytest.CaptureFixture[str]) -> None:
    with watched() as printed:
        print("four")
        print("four", file=sys.stderr)
        os.write(1, b"1234\n")
        os.write(2, b"1234\n")
    assert printed.size == 20
    assert capfd.readouterr() == ("", "")


def test_the_guide_explains_each_rule_and_no_other() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(check_\w+)` \|", guide, re.MULTILINE) == [name for name in vars(Contract) if name.startswith("check_")]
