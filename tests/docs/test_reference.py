"""What users and authors of plugins are told, errors, commands, JSON, hooks, manifest, is what there is."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Mapping

import click
import pytest
from transom.runs.v1 import run_pb2
from transom_client.cli import BUILT_IN, exits, root
from transom_plugin import errors, hookspecs
from transom_plugin.manifest import ActionEntry, PluginEntry
from transom_plugin.testing import Contract
from transom_server.run import State
from transom_wire.status import BY_REASON

from docs.pages import codes, column, difference, rows, section, text

Names = dict[str, set[str]]


# Errors and outcomes.


def reasons(content: str) -> set[str]:
    return {f"{reason} {row[1]}" for row in rows(content) for reason in codes(row[0])}


def known_reasons() -> set[str]:
    return {f"{reason} {kind.code.name}" for reason, kind in BY_REASON.items()}


def test_every_error_reason_is_explained_with_its_code_and_no_other() -> None:
    assert difference(reasons(text("docs/errors.md")), known_reasons()) == {}
    assert [row for row in rows(text("docs/errors.md")) if not all(row)] == []


@pytest.mark.parametrize(("right", "wrong"), [("| `CRASHED` |", "| `CRASH` |"), ("`INTERNAL` | INTERNAL", "`INTERNAL` | ABORTED")])
def test_a_planted_wrong_reason_is_noticed(right: str, wrong: str) -> None:
    assert right in text("docs/errors.md")
    assert set(difference(reasons(text("docs/errors.md").replace(right, wrong)), known_reasons())) == {"not there", "not told"}


def untrue_outcomes(content: str) -> Names:
    ends = {state.name for state in State if state not in {State.QUEUED, State.RUNNING}}
    return difference(column(section(content, "## Outcomes")), ends)


def test_every_outcome_is_explained_and_no_other() -> None:
    page = text("docs/concepts.md")
    assert untrue_outcomes(page) == {}
    assert untrue_outcomes(page.replace("| `LOST` |", "| `GONE` |")) == {"not there": {"GONE"}, "not told": {"LOST"}}


def untrue_levels(content: str) -> Names:
    told = {f"{level} {row[1]}" for row in rows(section(content, "## Containment")) for level in codes(row[0])}
    known = {f"{name.removeprefix('CONTAINMENT_LEVEL_')} {number}" for name, number in run_pb2.ContainmentLevel.items() if number}
    return difference(told, {name.lower().replace("_", "-") for name in known})


def test_every_level_of_containment_is_explained_with_its_number() -> None:
    page = text("docs/security.md")
    assert untrue_levels(page) == {}
    assert untrue_levels(page.replace("`limits` | 2", "`limits` | 1")) == {"not there": {"limits 1"}, "not told": {"limits 2"}}


# The command line.


def walk(path: str, command: click.Command) -> dict[str, click.Command]:
    """Return every command that does something, by what is typed."""
    found = {path: command} if not isinstance(command, click.Group) or command.invoke_without_command else {}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found |= walk(f"{path} {name}", child)
    return found


def known_commands() -> Names:
    return {path: options(command) for path, command in walk("transom", root).items()}


def options(command: click.Command) -> set[str]:
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


def told_commands(content: str) -> Names:
    """Return the commands that have a section, with the options in its table."""
    headings = re.findall(r"^## `(.*)`$", content, re.MULTILINE)
    # Arguments are in capitals or braces.
    return {
        " ".join(word for word in heading.split() if re.fullmatch(r"[a-z]+", word)): set(column(section(content, f"## `{heading}`")))
        for heading in headings
    }


def untrue_commands(content: str, known: Mapping[str, set[str]]) -> list[str]:
    told = told_commands(content)
    faults = {path: difference(told[path], known[path]) for path in set(told) & set(known)}
    return [str(difference(told, known) or ""), *(f"{path}: {fault}" for path, fault in faults.items() if fault)]


def test_every_command_and_option_is_explained_and_no_other() -> None:
    assert untrue_commands(text("docs/cli.md"), known_commands()) == [""]


def test_every_built_in_command_is_among_them() -> None:
    assert set(BUILT_IN) <= {path.split()[1] for path in known_commands()}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("## `transom doctor`", "## `transom physician`"),
        ("| `--limit` |", "| `--limits` |"),
        ("| `-o`, `--output` |", "| `--output` |"),
        ("| `--port` | Port of the server; the system chooses by default. |\n", ""),
    ],
)
def test_a_planted_wrong_command_is_noticed(right: str, wrong: str) -> None:
    assert right in text("docs/cli.md")
    assert untrue_commands(text("docs/cli.md").replace(right, wrong, 1), known_commands()) != [""]


def untrue_exits(content: str) -> Names:
    known = {str(value) for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    return difference([row[0] for row in rows(section(content, "## Exit codes"))], known)


def test_every_exit_code_is_explained_and_no_other() -> None:
    page = text("docs/cli.md")
    assert untrue_exits(page) == {}
    assert untrue_exits(page.replace("| 130 |", "| 131 |")) == {"not there": {"131"}, "not told": {"130"}}


# JSON.


def shapes(source: str) -> Names:
    """Return the keys of each shape: the dictionaries that its function returns."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name.endswith("_shape")]
    found: Names = {}
    for function in functions:
        returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict)]
        keys = {key.value for one in returned for key in one.keys if isinstance(key, ast.Constant)}
        found[function.name.removesuffix("_shape")] = {str(key) for key in keys}
    return found


def told_shapes(content: str) -> Names:
    below = section(content, "## JSON")
    return {name: set(column(section(below, f"### {name}"))) for name in re.findall(r"^### (\w+)$", below, re.MULTILINE)}


def untrue_keys(content: str, known: Names) -> dict[str, Names]:
    told = told_shapes(content)
    faults = {name: difference(told.get(name, ()), known.get(name, ())) for name in told | known}
    return {name: fault for name, fault in faults.items() if fault}


def test_every_key_of_the_json_is_explained_and_no_other() -> None:
    known = shapes(text("client/transom_client/cli/shapes.py"))
    page = text("docs/cli.md")
    assert len(known) > 5
    assert untrue_keys(page, known) == {}
    assert untrue_keys(page.replace("| `dpi` |", "| `ppi` |"), known) == {"page": {"not there": {"ppi"}, "not told": {"dpi"}}}


# Plugins.


def hooks() -> set[str]:
    found = {name: inspect.signature(hook) for name, hook in vars(hookspecs).items() if name.startswith("transom_")}
    return {f"{name}({', '.join(signature.parameters)})" for name, signature in found.items()}


def told_hooks(content: str) -> set[str]:
    return {code for code in codes(section(content, "## Hooks")) if code.startswith("transom_") and "(" in code}


def test_every_hook_is_explained_with_its_arguments_and_no_other() -> None:
    page = text("docs/plugins.md")
    assert difference(told_hooks(page), hooks()) == {}
    planted = told_hooks(page.replace("`transom_warm(actions)`", "`transom_warm(action)`"))
    assert difference(planted, hooks()) == {"not there": {"transom_warm(action)"}, "not told": {"transom_warm(actions)"}}


def untrue_manifest(content: str) -> Names:
    manifest = section(content, "## Manifest")
    (plugin,) = re.findall(r"^Table `\[plugin\]`: (.*)\.$", manifest, re.MULTILINE)
    keys = {kind: {one.name for one in dataclasses.fields(kind)} for kind in (PluginEntry, ActionEntry)}
    return difference(codes(plugin), keys[PluginEntry]) or difference(column(manifest), keys[ActionEntry])


def test_every_key_of_the_manifest_is_explained_and_no_other() -> None:
    page = text("docs/plugins.md")
    assert untrue_manifest(page) == {}
    assert untrue_manifest(page.replace("| `hosts` |", "| `host` |")) == {"not there": {"host"}, "not told": {"hosts"}}
    assert untrue_manifest(page.replace("Table `[plugin]`: `id`,", "Table `[plugin]`: `ident`,")) != {}


ABSTRACT = {errors.DocumentError, errors.Stopped}


def untrue_errors(content: str) -> Names:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PluginError)]
    known = {f"{kind.__name__} {kind.reason}" for kind in kinds if kind not in ABSTRACT}
    return difference({f"{name.strip('`')} {reason.strip('`')}" for name, reason in rows(section(content, "## Errors"))}, known)


def test_every_error_of_plugins_is_explained_with_its_reason_and_no_other() -> None:
    page = text("docs/plugins.md")
    assert untrue_errors(page) == {}
    assert set(untrue_errors(page.replace("| `TIMED_OUT` |", "| `TIME_OUT` |"))) == {"not there", "not told"}


def untrue_rules(content: str) -> Names:
    return difference(column(section(content, "## The contract kit")), [name for name in dir(Contract) if name.startswith("check_")])


def test_every_rule_of_the_contract_kit_is_explained_and_no_other() -> None:
    page = text("docs/plugins.md")
    assert untrue_rules(page) == {}
    assert untrue_rules(page.replace("| `check_warm` |", "| `check_heat` |")) == {"not there": {"check_heat"}, "not told": {"check_warm"}}
