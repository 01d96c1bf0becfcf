"""The documentation names what exists, and whatever exists is in it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec
import pytest
import transom_runner.config
import transom_server.config
from transom_client.cli import BUILT_IN, root
from transom_wire.errors import BY_REASON

from docs.pages import PAGES, ROOT, codes, dead_links, text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page, page.read_text(encoding="utf-8")) == []


def test_a_dead_link_is_noticed() -> None:
    assert dead_links(ROOT / "README.md", "see [this](docs/nothing.md)") == ["docs/nothing.md"]


def path_of_a_document() -> list[str]:
    steps = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^$|^#)", text("ARCHITECTURE.md"), re.MULTILINE | re.DOTALL)
    return [found for step in steps for found in re.findall(r"`((?:server|runner)/[a-z_/]+\.py)`", step)]


def test_the_path_of_a_document_names_real_files_in_the_order_of_the_design() -> None:
    path = path_of_a_document()
    assert len(path) == 30
    assert [file for file in path if not (ROOT / file).is_file()] == []
    names = [file.split("/", 2)[2] for file in path]
    order = [
        "__main__.py", "config.py", "app.py", "listener.py", "interceptors.py", "identity/caller.py", "api/runs.py", "intake.py",
        "scheduler.py", "sessions.py", "api/runners.py", "__main__.py", "config.py", "app.py", "credentials.py", "connection.py",
        "session.py", "transfer.py", "executor.py", "executor_main.py", "catalog.py", "worker.py", "sandbox.py", "worker_main.py",
        "outcomes.py",
    ]  # fmt: skip
    rest = iter(names)
    assert all(name in rest for name in order)


@pytest.mark.parametrize("package", ["server/transom_server", "runner/transom_runner"])
def test_the_architecture_mentions_every_module(package: str) -> None:
    told = text("ARCHITECTURE.md")
    modules = [path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py" and "migrations" not in path.parts]
    ledger = ROOT / "server" / "transom_server" / "ledger"
    missing = [path.name for path in modules if path.name not in told and path.parent != ledger]
    assert missing == []


def test_every_error_reason_is_explained_and_no_other() -> None:
    reasons = {code for code in codes(text("docs/errors.md")) if re.fullmatch(r"[A-Z][A-Z_]+", code)}
    assert reasons == set(BY_REASON)


@pytest.mark.parametrize("config", [transom_server.config.Config, transom_runner.config.Config], ids=["server", "runner"])
def test_every_setting_is_explained(config: type[msgspec.Struct]) -> None:
    assert [field.name for field in msgspec.structs.fields(config) if f"`{field.name}`" not in text("docs/operations.md")] == []


def test_every_explained_setting_exists() -> None:
    keys = {key for row in re.findall(r"^\| (`.*?) \|", text("docs/operations.md"), re.MULTILINE) for key in codes(row)}
    known = {
        field.name for config in (transom_server.config.Config, transom_runner.config.Config) for field in msgspec.structs.fields(config)
    }
    assert keys == known


def walk(path: str, command: click.Command) -> list[tuple[str, click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += walk(f"{path} {name}", child)
    return found


def test_every_command_and_option_is_explained_and_no_other() -> None:
    page = text("docs/cli.md")
    known = {
        path: command for path, command in walk("transom", root) if not isinstance(command, click.Group) or command.invoke_without_command
    }
    parts = [part.split("`\n", 1) for part in page.split("\n## `")[1:]]
    sections = {" ".join(word for word in heading.split() if word.isalpha() and word.islower()): body for heading, body in parts}
    assert set(sections) == set(known) - {"transom"}
    for path, body in sections.items():
        options = {name for option in known[path].params if isinstance(option, click.Option) for name in option.opts}
        assert set(re.findall(r"`(--?[a-z-]+)`", "\n".join(line for line in body.splitlines() if line.startswith("| `")))) == options, path
    assert set(BUILT_IN) == {path.split()[1] for path in sections}


def test_every_hook_manifest_key_and_error_is_in_the_plugin_guide() -> None:
    import dataclasses
    import inspect

    from transom_plugin import errors, hookspecs
    from transom_plugin.manifest import ActionEntry, PluginEntry

    page = text("docs/plugins.md")
    hooks = {name: inspect.signature(hook) for name, hook in vars(hookspecs).items() if name.startswith("transom_")}
    assert hooks
    for name, signature in hooks.items():
        assert f"`{name}({', '.join(signature.parameters)})`" in page
    for entry in (PluginEntry, ActionEntry):
        assert [field.name for field in dataclasses.fields(entry) if f"`{field.name}`" not in page] == []
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PluginError)]
    abstract = {errors.DocumentError, errors.Stopped}
    assert [kind.__name__ for kind in kinds if kind not in abstract and f"| `{kind.__name__}` | `{kind.reason}` |" not in page] == []
