"""Links lead somewhere, and the map of the code shows the code as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, codes, dead_links, difference, name_of, rows, section, text

MAP = "ARCHITECTURE.md"
STEP = re.compile(r"^(\d+)\. `([^`]+)`", re.MULTILINE)
MODULE = re.compile(r"(?:server|runner)/[\w/]+\.py")
ORDER = [
    "server/__main__.py", "server/config.py", "server/app.py", "server/listener.py", "server/interceptors.py",
    "server/identity/caller.py", "server/api/runs.py", "server/intake.py", "server/scheduler.py", "server/sessions.py",
    "server/api/runners.py", "runner/__main__.py", "runner/config.py", "runner/app.py", "runner/credentials.py",
    "runner/connection.py", "runner/session.py", "runner/transfer.py", "runner/executor.py", "runner/executor_main.py",
    "runner/catalog.py", "runner/worker.py", "runner/sandbox.py", "runner/worker_main.py", "server/outcomes.py",
]  # fmt: skip
"""How a document travels by the design; the map may stop at more files, but not in another order."""


# Links.


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/errors.md#nothing", "#nothing"])
def test_a_dead_link_is_noticed(link: str) -> None:
    assert dead_links(ROOT / "README.md", f"see [this]({link}), and [that](docs/cli.md#exit-codes)") == [link]


def test_every_page_of_the_guides_is_linked_from_their_index() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", text("docs/index.md")))
    assert difference(linked | {"index.md"}, [page.name for page in PAGES if page.parent == ROOT / "docs"]) == {}


# The path of one document.


def steps(content: str) -> list[tuple[int, str]]:
    return [(int(number), file) for number, file in STEP.findall(section(content, "## The path of one document"))]


def faults_of_the_path(content: str) -> list[str]:
    """Say what is wrong with the path: its numbering, a file that is not there, a stop that is missing or at the wrong place."""
    path = steps(content)
    faults = [f"step {at} has the number {number}" for at, (number, _) in enumerate(path, 1) if number != at]
    items = re.findall(r"^\d+\. ", section(content, "## The path of one document"), re.MULTILINE)
    faults += ["an item does not begin with a file"] if len(items) != len(path) else []
    faults += [f"{file} is not there" for _, file in path if not (ROOT / file).is_file()]
    rest = iter([file.replace("/transom_server/", "/").replace("/transom_runner/", "/") for _, file in path])
    astray = next((file for file in ORDER if file not in rest), None)
    return faults + ([f"{astray} is missing, or stands too early"] if astray else [])


def test_the_path_of_a_document_names_real_files_in_the_order_of_the_design() -> None:
    assert faults_of_the_path(text(MAP)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("1. `server/transom_server/__main__.py`", "2. `server/transom_server/__main__.py`", "step 1 has the number 2"),
        ("1. `server/transom_server/__main__.py`", "1. The command line", "an item does not begin with a file"),
        ("`server/transom_server/intake.py`", "`server/transom_server/inlet.py`", "server/transom_server/inlet.py is not there"),
        ("`runner/transom_runner/sandbox.py`", "`runner/transom_runner/flow.py`", "runner/sandbox.py is missing, or stands too early"),
    ],
)
def test_a_planted_fault_of_the_path_is_noticed(right: str, wrong: str, fault: str) -> None:
    assert right in text(MAP)
    assert fault in faults_of_the_path(text(MAP).replace(right, wrong))


def test_two_steps_in_the_wrong_order_are_noticed() -> None:
    one, other = "server/transom_server/scheduler.py", "server/transom_server/sessions.py"
    swapped = text(MAP).replace(one, "kept").replace(other, one).replace("kept", other)
    assert faults_of_the_path(swapped) == ["server/sessions.py is missing, or stands too early"]


def modules() -> list[str]:
    """Every module of server and runner that holds code of its own."""
    found = [path for package in ("server/transom_server", "runner/transom_runner") for path in (ROOT / package).rglob("*.py")]
    return [name_of(path) for path in found if path.name != "__init__.py" and "migrations" not in path.parts]


def untrue_modules(content: str, known: Sequence[str]) -> dict[str, set[str]]:
    return difference([code for code in codes(content) if MODULE.fullmatch(code)], known)


def test_the_map_names_every_module_of_server_and_runner_and_no_other() -> None:
    assert untrue_modules(text(MAP), modules()) == {}


def test_a_module_that_the_map_does_not_know_is_noticed() -> None:
    planted = untrue_modules(f"{text(MAP)}\n`server/transom_server/utils.py`", [*modules(), "runner/transom_runner/helpers.py"])
    assert planted == {"not there": {"server/transom_server/utils.py"}, "not told": {"runner/transom_runner/helpers.py"}}


def test_every_folder_of_the_map_is_there() -> None:
    folders = [code for row in rows(section(text(MAP), "## The map")) for code in codes(row[0])]
    assert len(folders) > 5
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


# Invariants.


def unproved(content: str) -> list[str]:
    """Return invariants that name no proof, and proofs that are not there."""
    table = rows(section(content, "## Invariants, and what proves them"))
    named = [(invariant, codes(proof)) for invariant, proof in table]
    missing = [file for _, files in named for file in sorted(files) if not file.startswith("tests/") or not (ROOT / file).exists()]
    return [invariant for invariant, files in named if not files] + missing


def test_every_invariant_names_tests_that_are_there() -> None:
    assert len(rows(section(text(MAP), "## Invariants, and what proves them"))) > 10
    assert unproved(text(MAP)) == []


@pytest.mark.parametrize("proof", ["", "a promise", "`tests/server/test_nothing.py`", "`README.md`"])
def test_an_invariant_without_a_proof_is_noticed(proof: str) -> None:
    line = "| the ledger refuses what is not declared storable | "
    assert line in text(MAP)
    assert len(unproved(text(MAP).replace(line, f"| planted | {proof} |\n{line}"))) == 1
