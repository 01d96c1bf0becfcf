"""How a plugin is found and loaded, and how a caller says which pages."""

from __future__ import annotations

import sys
from pathlib import Path

import pluggy
import pytest
from transom_plugin import BadParameters, Context, load, selected
from transom_plugin.loading import UnknownAction
from transom_plugin.manifest import ManifestError, locate, parse, read

PLUGIN = '[plugin]\nid = "words"\nversion = "1"\n'
ENTRY = (
    '[[action]]\nname = "words.count"\nsummary = "Count"\nkind = "engine"\naccepts = "document"\nproduces = "part"\npersistence = "none"\n'
)
RUN = "from transom_plugin import hookimpl\n\n@hookimpl\ndef transom_run(action):\n    return [] if action == 'words.count' else None\n"


@pytest.fixture
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package of a name that no other test uses."""
    name = f"loading_{abs(hash(request.node.nodeid))}"
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour = 1\n" + PLUGIN + ENTRY, "unknown table colour"),
        (ENTRY, "plugin.id is missing"),
        ("plugin = 1\n" + ENTRY, "plugin must be a table"),
        (PLUGIN + "api = 2\n" + ENTRY, "plugin.api must be 1"),
        ("action = [1]\n" + PLUGIN, r"action\[0\] must be a table"),
        ("action = 1\n" + PLUGIN, "at least one"),
        (PLUGIN + ENTRY.replace("words.count", "words.Count"), "in lower case"),
        (PLUGIN + ENTRY + "parameters = 1\n", "parameters must be of type"),
    ],
)
def test_a_mistake_in_a_manifest_is_told(text: str, told: str) -> None:
    with pytest.raises(ManifestError, match=told):
        parse(text)


def test_a_manifest_is_found_without_importing_the_plugin(package: Path) -> None:
    (package / "__init__.py").write_text("raise SystemExit", encoding="utf-8")
    (package / "transom-plugin.toml").write_text(PLUGIN + ENTRY, encoding="utf-8")
    assert read(locate(package.name)).actions[0].name == "words.count"
    assert package.name not in sys.modules


def test_a_manifest_that_is_missing_is_told(package: Path) -> None:
    with pytest.raises(ManifestError, match=r"has no transom-plugin\.toml"):
        locate(package.name)
    with pytest.raises(ManifestError, match="cannot be read"):
        read(package / "transom-plugin.toml")


def test_a_hook_may_leave_out_arguments(package: Path) -> None:
    (package / "__init__.py").write_text(RUN, encoding="utf-8")
    plugin = load(package.name)
    plugin.warm(["words.count"])
    assert list(plugin.run("words.count", iter(()), Context())) == []
    with pytest.raises(UnknownAction):
        plugin.run("words.other", iter(()), Context())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("transom_run(", "transom_runs("),
        ("(action)", "(action, colour)"),
        ("@hookimpl\ndef transom_run(action)", "def transom_start(action)"),
    ],
    ids=["misspelt", "an argument too many", "misspelt and not marked"],
)
def test_a_wrong_hook_stops_a_plugin_from_loading(package: Path, right: str, wrong: str) -> None:
    assert right in RUN
    (package / "__init__.py").write_text(RUN.replace(right, wrong), encoding="utf-8")
    with pytest.raises(pluggy.PluginValidationError):
        load(package.name)


@pytest.mark.parametrize(
    ("text", "pages"), [(None, [1, 2, 3, 4]), ("2", [2]), ("3-4,1", [1, 3, 4]), ("1-2,2-3", [1, 2, 3]), ("3-999999", [3, 4])]
)
def test_a_selection_is_in_order_and_names_pages_that_exist(text: str | None, pages: list[int]) -> None:
    assert selected(text, 4) == pages


@pytest.mark.parametrize("text", ["", "5", "0", "a", "1;2", "1,", "-1", "4-2", "1234567", "1," * 600 + "1"])
def test_a_selection_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadParameters):
        selected(text, 4)
