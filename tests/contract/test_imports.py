"""Each import rule goes red when it alone is broken, in a tree of empty packages with the rules of the real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"
LAYERS = "each distribution knows only what it may"
PLUGIN = "a plugin imports only transom_plugin"
PLUGIN_API = "transom_plugin imports no grpc, no protobuf, nothing of ours"
LEDGER = "only the ledger imports sqlalchemy"
PACKAGES = {
    "transom_client": (), "transom_runner": ("session",), "transom_wire": (), "transom_plugin": (), "transom_plugin_pdf": (),
    "transom_plugin_tesseract": (), "transom_server": ("scheduler", "intake", "outcomes", "sessions", "listener", "interceptors"),
}  # fmt: skip


@pytest.fixture
def empty_tree(tmp_path: Path) -> Path:
    settings = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(settings[settings.index("[tool.importlinter]") :])
    for package, names in PACKAGES.items():
        (tmp_path / package).mkdir()
        for name in ("__init__", *names):
            (tmp_path / package / f"{name}.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("planted", "where", "broken"),
    [
        ("", "transom_server/__init__", None),
        ("import transom_wire", "transom_server/__init__", None),
        ("import transom_server", "transom_client/__init__", LAYERS),
        ("import transom_runner.session", "transom_server/__init__", LAYERS),
        ("import transom_plugin_pdf", "transom_runner/session", LAYERS),
        ("import transom_client", "transom_wire/__init__", LAYERS),
        ("import transom_plugin", "transom_wire/__init__", LAYERS),
        ("import grpc", "transom_plugin_pdf/__init__", PLUGIN),
        ("import transom_wire", "transom_plugin_tesseract/__init__", PLUGIN),
        ("import google.protobuf", "transom_plugin/__init__", PLUGIN_API),
        ("import sqlalchemy", "transom_server/scheduler", LEDGER),
        ("import alembic", "transom_server/listener", LEDGER),
    ],
)
def test_a_rule_is_broken_by_what_it_forbids_and_by_nothing_else(empty_tree: Path, planted: str, where: str, broken: str | None) -> None:
    (empty_tree / f"{where}.py").write_text(f"{planted}\n")
    done = subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=empty_tree, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode == 0) == (broken is None), done.stdout + done.stderr
    if broken is not None:
        assert f"{broken} BROKEN" in done.stdout
