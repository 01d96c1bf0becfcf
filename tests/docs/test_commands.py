"""Every command that the documentation prints is run, against one live server and runner."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.console import WITHIN_S, Desk, desk
from docs.pages import PAGES, ROOT, Command, commands, fences, left_out, name_of, text

BLOCKS = [(name_of(page), commands(body)) for page in PAGES for body in fences(page.read_text(encoding="utf-8"), "console")]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("docs")) as reader:
        # Some pages look at runs: there has been one.
        assert reader.complaints([Command(line="transom process receipt.png", shows="")]) == []
        yield reader


@pytest.mark.parametrize(("page", "told"), BLOCKS, ids=[f"{page}-{told[0].line[:30] if told else ''}" for page, told in BLOCKS])
def test_what_is_told_to_type_works_and_shows_what_is_told(reader: Desk, page: str, told: list[Command]) -> None:
    assert told != []
    assert reader.complaints(told) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_command_of_a_page_is_left_out(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    assert left_out(content) == []
    typed = [line for line in content.splitlines() if line.startswith("$ ")]
    assert typed == [f"$ {command.line}" for of, told in BLOCKS if of == name_of(page) for command in told]


@pytest.mark.parametrize(
    "planted",
    [
        "```bash\ntransom frobnicate\n```",
        "```console title=first\n$ transom frobnicate\n```",
        "~~~console\n$ transom frobnicate\n~~~",
        "1. First\n\n   ```console\n   $ transom frobnicate\n   ```",
        "> ```console\n> $ transom frobnicate\n> ```",
        "```\ntransom frobnicate\n```",
        "```text\n$ transom frobnicate\n```",
        "```console\n$transom frobnicate\n```",
        "```console\n# transom frobnicate\n```",
        "```console\n$ transom \\\n    frobnicate\n```",
        "    $ transom frobnicate",
    ],
)
def test_a_planted_command_that_nothing_would_run_is_noticed(planted: str) -> None:
    assert left_out(f"```console\n$ true\n```\n{planted}\n") != []
    assert left_out("```console\n$ true\nshown\n```\n```text\n# usage\n```\n# Heading\n") == []


def test_the_pages_that_show_commands_are_looked_at() -> None:
    assert {page for page, _ in BLOCKS} >= {
        "README.md", "docs/quickstart.md", "docs/cli.md", "docs/clients.md", "docs/operations.md", "docs/security.md"
    }  # fmt: skip


def test_every_grpcurl_of_the_guides_is_run_with_the_addresses_of_a_live_server() -> None:
    run = "\n".join(command.line for page, told in BLOCKS if page in {"docs/clients.md", "docs/operations.md"} for command in told)
    assert run.count("grpcurl ") == 2
    # One call of each kind: what answers callers, operators and monitoring.
    methods = set(re.findall(r"[a-zA-Z.0-9]+/([A-Z]\w+)", run))
    assert methods >= {"ProcessInline", "ListRunners", "ListActions", "GetAction", "List", "Get", "Watch", "Cancel", "Check", "GetServers"}


def test_the_unary_call_of_the_guide_reads_the_document(reader: Desk) -> None:
    # The status of such a call is OK, however the run ended.
    (told,) = [told for page, told in BLOCKS if page == "docs/clients.md"]
    looked = [
        *told[:-1],
        Command(line=f"{told[-1].line} > answer.json", shows=""),
        Command(line="grep RUN_STATE_SUCC answer.json", shows=""),
    ]
    assert "grpcurl" in told[-1].line
    assert reader.complaints(looked) == []


@pytest.mark.parametrize(
    ("line", "shows"),
    [
        ("transom process missing.pdf", ""),
        ("transom frobnicate", ""),
        ("transom frobnicate | cat", ""),
        ("grpcurl -cacert ~/.local/state/transom/dev/ca.pem localhost:1 list", ""),
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
    assert (
        reader.complaints([Command(line="python tour.py > tour.txt", shows=""), Command(line="grep 'disk writes: 0' tour.txt", shows="")])
        == []
    )


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
