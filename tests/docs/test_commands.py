"""Every command that the documentation prints is run, against one live server and runner."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.console import BIN, WITHIN_S, Desk, desk
from docs.pages import PAGES, ROOT, Command, commands, fences, name_of, text

BLOCKS = [(name_of(page), commands(body)) for page in PAGES for body in fences(page.read_text(encoding="utf-8"), "console")]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("docs")) as reader:
        # Some pages look at runs: there has been one.
        assert reader.complaints([Command(line="transom process receipt.png", shows="")]) == []
        yield reader


@pytest.mark.parametrize(("page", "told"), BLOCKS, ids=[f"{page}-{told[0].line[:30]}" for page, told in BLOCKS])
def test_what_is_told_to_type_works_and_shows_what_is_told(reader: Desk, page: str, told: list[Command]) -> None:
    if any("grpcurl" in one.line for one in told) and shutil.which("grpcurl", path=str(BIN)) is None:
        pytest.skip("grpcurl is not packaged for this machine")
    assert reader.complaints(told) == []


def test_the_pages_that_show_commands_are_looked_at() -> None:
    assert {page for page, _ in BLOCKS} >= {
        "README.md", "docs/quickstart.md", "docs/cli.md", "docs/clients.md", "docs/operations.md", "docs/security.md"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "shows"),
    [
        ("transom process missing.pdf", ""),
        ("transom frobnicate", ""),
        ("transom process receipt.png --frobnicate", ""),
        ("transom runners list", "hostname status pool"),
    ],
)
def test_a_planted_wrong_command_is_noticed(reader: Desk, line: str, shows: str) -> None:
    told = [Command(line="true", shows=""), Command(line=line, shows=shows), Command(line="true", shows="")]
    assert [complaint.startswith(f"`{line}`") for complaint in reader.complaints(told)] == [True]


def test_the_program_of_the_quickstart_works(reader: Desk) -> None:
    (program,) = fences(text("docs/quickstart.md"), "python")
    (reader.folder / "tour.py").write_text(program, encoding="utf-8")
    assert reader.complaints([Command(line="python tour.py > tour.txt", shows=""), Command(line="grep 'disk writes: 0' tour.txt", shows="")]) == []


def test_the_plugin_of_the_guide_keeps_the_contract(tmp_path: Path) -> None:
    page = text("docs/plugins.md")
    manifest, (module, test) = fences(page, "toml")[0], fences(page, "python")
    package = tmp_path / "transom_plugin_words"
    package.mkdir()
    (package / "transom-plugin.toml").write_text(manifest, encoding="utf-8")
    (package / "__init__.py").write_text(module, encoding="utf-8")
    (tmp_path / "test_words.py").write_text(test, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_words.py"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
        capture_output=True, timeout=WITHIN_S, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, "1 passed" in ran.stdout) == (0, True), ran.stdout


# Commands that cannot be run here (they last, or a test of their own runs them) must at least exist.

MAKE = re.compile(r"(?:^ {4}|^|`)make ([a-z-]+)", re.MULTILINE)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))


def test_every_make_target_that_is_printed_exists() -> None:
    told = {target for page in PAGES for target in MAKE.findall(page.read_text(encoding="utf-8"))}
    assert {"demo", "test"} <= told <= targets()


def test_a_planted_make_target_is_noticed() -> None:
    assert set(MAKE.findall("    make frobnicate\n`make test`")) - targets() == {"frobnicate"}


def test_every_option_of_the_demo_that_is_printed_exists() -> None:
    everything = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    demo = text("examples/demo/__main__.py")
    assert [option for option in re.findall(r"make demo ARGS=(--[a-z-]+)", everything) if f'"{option}"' not in demo] == []


def test_the_sources_lie_where_the_tests_look() -> None:
    assert (ROOT / "Makefile").is_file()
