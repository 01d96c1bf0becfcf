"""`make demo`: it passes as it is, and fails once content lies in a file."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from samples import receipt_png

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
WITHIN_S = 90


async def run_demo(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(DEMO), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(WITHIN_S):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_the_demo_reads_its_documents_and_proves_that_nothing_was_kept() -> None:
    code, output = await run_demo()
    assert code == 0, output
    assert "passed:" in output
    assert "disk writes of 8 executors and workers: 0 blocks" in output
    for name in ("three-pages.pdf", "receipt.png", "letter.tiff", "All that the ledger holds"):
        assert name in output


async def test_the_demo_fails_with_a_planted_leak() -> None:
    code, output = await run_demo("--plant-leak")
    assert code == 1
    assert "debug.log" in output
    assert "content was found in a file" in output


@pytest.fixture(scope="module")
def proof() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_proof", DEMO / "proof.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_proof"] = module
    spec.loader.exec_module(module)
    return module


SAMPLE = receipt_png()
LINE = max(SAMPLE.pages[0].splitlines(), key=len).encode()
LEAKS = {
    "raw": b"prefix" + LINE,
    "reversed": LINE[::-1],
    "hex": LINE.hex().encode(),
    "utf16": LINE.decode().encode("utf-16-le"),
    "base64": base64.b64encode(LINE),
    "base64 shifted": base64.b64encode(b"x" + LINE),
    "bytes": SAMPLE.data[1000:-1000],
}


@pytest.mark.parametrize("leak", LEAKS, ids=str)
def test_the_search_finds_content_in_every_encoding(proof: ModuleType, tmp_path: Path, leak: str) -> None:
    (tmp_path / "file").write_bytes(LEAKS[leak])
    assert proof.search(tmp_path, [SAMPLE], since=1e12).found


def test_the_search_finds_content_in_a_file_name(proof: ModuleType, tmp_path: Path) -> None:
    (tmp_path / LINE.decode().replace("/", "")).touch()
    assert proof.search(tmp_path, [SAMPLE], since=1e12).found


def test_the_search_finds_nothing_where_nothing_is(proof: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"nothing of a document")
    assert not proof.search(tmp_path, [SAMPLE], since=1e12).found
