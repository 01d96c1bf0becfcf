"""Every command that the documentation prints is run, against one live server and runner."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from e2e.site import live
from samples import letter_tiff, receipt_png, three_page_pdf
from transom_client import profile

from docs.pages import PAGES, ROOT, commands, fences, text

WITHIN_S = 60
BIN = Path(sys.executable).parent


async def run(command: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    shell = await asyncio.create_subprocess_shell(
        command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(WITHIN_S):
        output, _ = await shell.communicate()
    assert shell.returncode is not None
    return shell.returncode, output.decode()


async def test_every_printed_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [command for page in PAGES for command in commands(page.read_text(encoding="utf-8"))]
    assert len(told) >= 10
    for sample, name in ((receipt_png(), "receipt.png"), (three_page_pdf(), "three-pages.pdf"), (letter_tiff(), "letter.tiff")):
        (tmp_path / name).write_bytes(sample.data)
    (tmp_path / "tour.py").write_text(*fences(text("docs/quickstart.md"), "python"), encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "TRANSOM_PROFILE": "tour"}
    async with live(tmp_path / "site") as dev:
        profile.save("tour", dev.profile)
        failed = {}
        for command in [*dict.fromkeys(told), "python tour.py"]:
            code, output = await run(command, tmp_path, environment)
            if code:
                failed[command] = output
        assert failed == {}
        code, _ = await run("transom process missing.pdf", tmp_path, environment)
        assert code == 2


def test_every_make_target_that_is_printed_exists() -> None:
    import re

    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    told = {
        target for page in PAGES for target in re.findall(r"(?:^ {4}|^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"demo", "test"} <= told <= targets


async def test_the_plugin_of_the_guide_keeps_the_contract(tmp_path: Path) -> None:
    page = text("docs/plugins.md")
    manifest, (module, test) = fences(page, "toml")[0], fences(page, "python")
    package = tmp_path / "transom_plugin_words"
    package.mkdir()
    (package / "transom-plugin.toml").write_text(manifest, encoding="utf-8")
    (package / "__init__.py").write_text(module, encoding="utf-8")
    (tmp_path / "test_words.py").write_text(test, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code, output = await run(f"{sys.executable} -m pytest -q -p no:cacheprovider test_words.py", tmp_path, environment)
    assert code == 0, output
    assert "1 passed" in output


def test_the_sources_lie_where_the_tests_look() -> None:
    assert (ROOT / "Makefile").is_file()
