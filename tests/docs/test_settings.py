"""What operators are told, settings, commands, metrics, log events, ports, is what there is."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterable, Mapping

import msgspec
import pytest
import transom_runner.__main__ as runner
import transom_runner.config
import transom_server.__main__ as server
import transom_server.config
from prometheus_client.metrics import MetricWrapperBase
from transom_server.metrics import Metrics
from transom_wire.logs import ALLOWED

from docs.pages import ROOT, codes, column, difference, fences, rows, section, text

OPERATIONS = "docs/operations.md"
CONFIGS = {"## Settings of the server": transom_server.config.Config, "## Settings of the runner": transom_runner.config.Config}
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
EVENT = re.compile(r"[a-z]+\.[a-z_]+")
SIZES = {"KiB": 1024, "MiB": 1024 * 1024}


def below(heading: str) -> str:
    return section(text(OPERATIONS), heading)


# Settings.


def plain(told: str) -> object:
    """Read a default that stands as code: a number, a size, or a word."""
    number, _, unit = told.strip("`").partition(" ")
    try:
        return float(number) * SIZES.get(unit, 1)
    except ValueError:
        return told.strip("`")


def is_default(told: str, field: msgspec.structs.FieldInfo) -> bool:
    """Whether a table's cell says what a setting is without being set; words stand for what is not a plain value."""
    if told == "required" or told.startswith("`--"):
        return field.required
    if told.startswith("`"):
        return bool(field.default == plain(told))
    return not field.required and field.default in {None, "", msgspec.NODEFAULT}


def wrong_settings(content: str, config: type[msgspec.Struct]) -> dict[str, set[str]]:
    known = {field.name: field for field in msgspec.structs.fields(config)}
    found = difference(column(content), known)
    defaults = {name: row[1] for row in rows(content) for name in codes(row[0])}
    wrong = {name for name, told in defaults.items() if name in known and not is_default(told, known[name])}
    return found | ({"another default": wrong} if wrong else {})


@pytest.mark.parametrize("heading", CONFIGS)
def test_every_setting_is_explained_with_its_default_and_no_other(heading: str) -> None:
    assert wrong_settings(below(heading), CONFIGS[heading]) == {}


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("| `port` |", "| `prot` |", {"not there": {"prot"}, "not told": {"port"}}),
        ("| `7443` |", "| `7444` |", {"another default": {"port"}}),
        ("| `512 MiB` |", "| `512 KiB` |", {"another default": {"memory_bytes"}}),
        ("| `127.0.0.1` | address that", "| none | address that", {"another default": {"host"}}),
        ("| `0.2` |", "| required |", {"another default": {"kill_after_s"}}),
        ("| `--state` |", "| `state` |", {"another default": {"state"}}),
    ],
)
def test_a_planted_wrong_setting_is_noticed(right: str, wrong: str, found: dict[str, set[str]]) -> None:
    heading = "## Settings of the server"
    assert right in below(heading)
    assert wrong_settings(below(heading).replace(right, wrong), CONFIGS[heading]) == found


# Commands of server and runner.


Verbs = dict[str, set[str]]


def verbs(parser: argparse.ArgumentParser) -> Verbs:
    """Return the options of each verb."""
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {
        f"{parser.prog} {verb}": {action.option_strings[-1] for action in one._actions if action.dest != "help"}
        for verb, one in choices.items()
    }


def usage(content: str) -> Verbs:
    """Return what the lines of usage say."""
    lines = [line for block in fences(content, "text") for line in block.splitlines()]
    return {" ".join(line.split()[:2]): set(re.findall(r"--[a-z-]+", line)) for line in lines}


def wrong_commands(content: str, known: Mapping[str, set[str]]) -> list[str]:
    told = usage(content)
    faults = [difference(told, known)]
    faults += [difference(told[verb], options) for verb, options in known.items() if verb in told]
    faults.append(difference(column(content), {option for options in known.values() for option in options}))
    return [str(fault) for fault in faults if fault]


def known_commands() -> Verbs:
    return verbs(server.parser()) | verbs(runner.parser())


def test_every_command_of_server_and_runner_is_told_with_its_options_and_no_other() -> None:
    assert len(known_commands()) == 4
    assert wrong_commands(below("## Commands"), known_commands()) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("transom-server init ", "transom-server start "),
        ("[--port PORT]", "[--porch PORT]"),
        ("| `--lifetime` |", "| `--life` |"),
        (" [--subject NAME]", ""),
    ],
)
def test_a_planted_wrong_command_of_the_server_is_noticed(right: str, wrong: str) -> None:
    assert right in below("## Commands")
    assert wrong_commands(below("## Commands").replace(right, wrong), known_commands())


# Ports.


def routes(source: str) -> set[str]:
    return set(re.findall(r'Route\("([^"]+)"', source))


def test_the_port_and_the_paths_that_are_told_are_the_real_ones() -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(transom_server.config.Config)}
    told = {row[0] for row in rows(below("## Ports"))}
    assert told == {f"gRPC, {defaults['port']}", "HTTP, chosen at start"}
    assert defaults["http_port"] == 0
    assert difference(paths(below("## Health and metrics")), routes(text("server/transom_server/http.py"))) == {}


def paths(content: str) -> set[str]:
    return {code for code in codes(content) if code.startswith("/")}


def test_a_path_that_is_not_told_is_noticed() -> None:
    planted = text("server/transom_server/http.py").replace('Route("/healthz"', 'Route("/livez"')
    assert difference(paths(below("## Health and metrics")), routes(planted)) == {"not there": {"/healthz"}, "not told": {"/livez"}}


# Metrics.


def metrics() -> set[str]:
    """Return every metric with its labels, as the table writes them."""
    found = [one for one in vars(Metrics()).values() if isinstance(one, MetricWrapperBase)]
    return {f"{one._name} {', '.join(one._labelnames)}".strip() for one in found}


def told_metrics(content: str) -> set[str]:
    return {f"{name} {row[1]}".strip() for row in rows(content) for name in codes(row[0])}


def test_every_metric_is_told_with_its_labels_and_no_other() -> None:
    assert len(metrics()) > 5
    assert difference(told_metrics(below("## Health and metrics")), metrics()) == {}


def test_a_planted_wrong_metric_is_noticed() -> None:
    planted = below("## Health and metrics").replace("`transom_runs` | state", "`transom_runs` | tenant")
    assert difference(told_metrics(planted), metrics()) == {"not there": {"transom_runs tenant"}, "not told": {"transom_runs state"}}


def series(content: str) -> set[str]:
    return {name for code in codes(content) for name in re.findall(r"^transom_\w+", code)}


def exported() -> set[str]:
    families = list(Metrics().registry.collect())
    return {family.name for family in families} | {sample.name for family in families for sample in family.samples}


def test_every_series_that_is_to_be_watched_is_exported() -> None:
    assert "transom_runs_total" in series(below("## Health and metrics"))
    assert series(below("## Health and metrics")) <= exported()
    assert series("`transom_runs_count`") - exported() == {"transom_runs_count"}


# Logs.


def events(source: str) -> set[str]:
    """Return the events that a module logs."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    first = [call.args[0] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS and call.args]
    return {str(one.value) for one in first if isinstance(one, ast.Constant) and EVENT.fullmatch(str(one.value))}


def events_below(*folders: str) -> set[str]:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "_pb2" not in path.name]
    return {event for path in files for event in events(path.read_text(encoding="utf-8"))}


def told_events(content: str, *sources: str) -> Iterable[str]:
    return {event for row in rows(content) if row[1] in sources for event in codes(row[0])}


@pytest.mark.parametrize("who", ["server", "runner"])
def test_every_log_event_is_told_where_it_comes_from_and_no_other(who: str) -> None:
    known = events_below(f"{who}/transom_{who}", "protos/transom_wire")
    assert len(known) > 5
    assert difference(told_events(below("## Logs"), who, "both"), known) == {}


def test_a_planted_wrong_event_is_noticed() -> None:
    known = events_below("server/transom_server", "protos/transom_wire") | events(
        'log.info("run.started")\nlog.info("words of a document")'
    )
    planted = below("## Logs").replace("`rpc.failed` | server", "`rpc.failed` | runner")
    assert difference(told_events(planted, "server", "both"), known) == {"not told": {"rpc.failed", "run.started"}}


def test_nothing_is_logged_by_the_command_line() -> None:
    assert events_below("client/transom_client") == set()


def fields(content: str) -> set[str]:
    (listed,) = re.findall(r"^Fields: (.*?)\.$", content, re.MULTILINE | re.DOTALL)
    return codes(listed)


def test_every_field_of_the_log_is_told_and_no_other() -> None:
    assert difference(fields(below("## Logs")), ALLOWED) == {}
    assert difference(fields("Fields: `run`,\n`text`."), {"run", "pid"}) == {"not there": {"text"}, "not told": {"pid"}}
