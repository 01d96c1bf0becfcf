"""Commands that other distributions add to the command line, and those that server and runner add."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
import transom_runner.__main__
import transom_server.__main__
from click.shell_completion import BashComplete
from click.testing import CliRunner
from server.site import WITHIN_S, Site
from transom_client import cli
from transom_client.cli import root
from transom_runner.commands import runner
from transom_server.commands import server

from client.command import started, transom


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(root, arguments, prog_name="transom")
    return result.exit_code, result.stdout, result.stderr


def supply(monkeypatch: pytest.MonkeyPatch, **places: str) -> None:
    """Let distributions supply commands, and nothing else."""
    entries = [EntryPoint(name=name, value=f"client.test_commands:{place}", group=cli.GROUP) for name, place in places.items()]
    monkeypatch.setattr(cli, "entry_points", lambda *, group: [one for one in entries if one.group == group])


@click.command()
def extra() -> None:
    """An extra command."""
    click.echo("extra")


NO_COMMAND = "a text"


def completions(word: str) -> list[str]:
    return [one.value for one in BashComplete(root, {}, "transom", "_TRANSOM_COMPLETE").get_completions([], word)]


# Finding them.


def test_commands_of_other_distributions_are_found_and_ours_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    supply(monkeypatch, extra="extra", process="extra")
    assert "\n  extra" in run("--help")[1]
    assert run("extra") == (0, "extra\n", "")
    assert "page by page" in run("process", "--help")[1]
    assert completions("ex") == ["extra"]


@pytest.mark.parametrize("place", ["missing", "NO_COMMAND"])
def test_a_command_that_cannot_be_loaded_is_told_in_a_sentence_and_harms_no_other(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    supply(monkeypatch, broken=place, extra="extra")
    code, out, err = run("broken", "--an-option", "and", "words")
    assert (code, out) == (1, "")
    assert err.startswith("error: the command broken of client.test_commands cannot be loaded (")
    assert err.endswith("hint: install client.test_commands anew\n")
    assert run("--help")[0] == 0
    assert run("extra")[0] == 0
    assert completions("") != []


def test_a_module_that_exits_when_it_is_imported_does_not_end_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "leaving_commands.py").write_text("raise SystemExit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "entry_points", lambda *, group: [EntryPoint(name="leaving", value="leaving_commands:all", group=group)])
    assert run("leaving")[0] == 1
    assert "leaving" in completions("l")


# Those of server and runner.


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["completion", "bash"], ["server", "--help"], ["runner", "--help"]])
def test_looking_around_imports_nothing_of_server_or_runner(arguments: list[str]) -> None:
    script = (
        f"import sys; from transom_client.cli import root; root({arguments!r}, standalone_mode=False);"
        "print(*sorted(name for name in sys.modules if name.startswith(('transom_server', 'transom_runner'))))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    # Their commands are described in a module that imports nothing.
    described = [f"transom_{who}{module}" for who in ("server", "runner") if who in arguments for module in ("", ".commands")]
    assert done.stdout.splitlines()[-1].split() == described


@pytest.mark.parametrize(("typed", "offered"), [("server t", "plain,token"), ("runner ", "plain,run"), ("server run --ho", "plain,--host")])
def test_the_shell_completes_commands_of_server_and_runner(typed: str, offered: str) -> None:
    words = ["transom", *typed.split(" ")]
    asked = {"_TRANSOM_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [Path(sys.executable).with_name("transom")], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.splitlines() == [offered]


Options = dict[str, tuple[bool, object, tuple[str, ...]]]


def of_parser(parser: argparse.ArgumentParser) -> dict[str, Options]:
    (verbs,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {
        verb: {
            one.option_strings[-1]: (one.required, one.default or None, tuple(one.choices or ()))
            for one in of._actions if one.dest != "help"
        }
        for verb, of in verbs.items()
    }  # fmt: skip


def of_group(group: click.Group) -> dict[str, Options]:
    found: dict[str, Options] = {}
    for verb, command in group.commands.items():
        options = [one.to_info_dict() for one in command.params]
        found[verb] = {one["opts"][-1]: (one["required"], one["default"] or None, tuple(one["type"].get("choices", ()))) for one in options}
    return found


def test_the_commands_take_what_the_programs_take() -> None:
    assert of_group(server) == of_parser(transom_server.__main__.parser())
    assert of_group(runner) == of_parser(transom_runner.__main__.parser())


async def until(event: str, process: asyncio.subprocess.Process) -> dict[str, object]:
    """Read a log up to an event."""
    assert process.stderr is not None
    async with asyncio.timeout(4 * WITHIN_S):
        async for line in process.stderr:
            found: dict[str, object] = json.loads(line)
            if found["event"] == event:
                return found
    raise AssertionError(event)


async def test_a_site_is_set_up_and_run_with_the_one_command(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert (await transom("server", "init", "--state", str(state))).code == 0
    token = await transom("server", "token", "--state", str(state), "--role", "viewer", "--role", "caller")
    assert token.code == 0
    assert token.out.count(".") == 2
    async with started("server", "run", "--state", str(state), "--port", "0", "--exit-with-parent") as serving:
        port = (await until("server.ready", serving))["port"]
        assert port != 7443
        config = tmp_path / "runner.toml"
        tls = Site(state).tls("runner")
        config.write_text(
            f'endpoint = "127.0.0.1:{port}"\nca = "{tls.ca}"\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\nplugins = []\n'
        )
        async with started("runner", "run", "--config", str(config)) as running:
            await until("session.opened", running)
            running.send_signal(signal.SIGTERM)
            await running.communicate()
        async with asyncio.timeout(4 * WITHIN_S):
            await serving.communicate(b"")
    # The server ended with its standard input, as it was told to.
    assert (running.returncode, serving.returncode) == (0, 0)


@pytest.mark.parametrize(
    "arguments",
    [("server", "run", "--state", "nowhere"), ("server", "token", "--state", "nowhere"), ("runner", "run", "--config", "nowhere")],
)
async def test_what_is_not_set_up_is_told_as_the_programs_tell_it(arguments: tuple[str, ...]) -> None:
    ran = await transom(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: the ")
    assert ran.err.count("\n") == 1
