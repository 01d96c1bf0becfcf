"""The sources keep their shape: short files, short functions, allowed imports, nothing that does not belong there."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 40
MOST_BYTES = 1024 * 1024
# Joined here, since no file may hold them.
HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org"))]


def tracked() -> list[Path]:
    """Every file of the project: what git knows, or all where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = listed.stdout.decode().split("\0") if listed.returncode == 0 else [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    return [ROOT / name for name in names if name and (ROOT / name).is_file() and not name.startswith((".venv", "build/"))]


SOURCES = [path for path in tracked() if path.suffix == ".py" and "_pb2" not in path.name]


def long_functions(source: str) -> list[str]:
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions if (node.end_lineno or node.lineno) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION]


def test_there_are_sources() -> None:
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    assert long_functions(source) == []


def test_a_long_function_is_noticed() -> None:
    assert long_functions("def long():\n" + "    pass\n" * MOST_LINES_OF_A_FUNCTION) == ["long"]


def test_no_file_names_a_registry_or_is_too_large() -> None:
    found = {path: path.read_bytes() for path in tracked()}
    assert [path for path, data in found.items() if len(data) > MOST_BYTES] == []
    assert [path for path, data in found.items() if any(host.encode() in data for host in HOSTS)] == []


LINTER = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINTER, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False, timeout=100)


PLANTED = {
    "a plugin that imports the wire": ("plugins/pdf/transom_plugin_pdf/raster.py", "import transom_wire.limits"),
    "a runner that imports the server": ("runner/transom_runner/config.py", "import transom_server.config"),
    "a plugin API that imports grpc": ("plugins/api/transom_plugin/context.py", "import grpc"),
}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The packages side by side, as the rules see them."""
    packages = {
        "client/transom_client", "server/transom_server", "runner/transom_runner", "protos/transom_wire", "protos/transom",
        "plugins/api/transom_plugin", "plugins/pdf/transom_plugin_pdf", "plugins/tesseract/transom_plugin_tesseract",
    }  # fmt: skip
    for package in packages:
        shutil.copytree(ROOT / package, tmp_path / Path(package).name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_rules_hold(copied: Path) -> None:
    done = lint(copied)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", PLANTED, ids=str)
def test_a_planted_import_is_noticed(copied: Path, case: str) -> None:
    file, line = PLANTED[case]
    planted = copied / Path(*Path(file).parts[-2:])
    planted.write_text(planted.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    done = lint(copied)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
