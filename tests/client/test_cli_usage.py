"""The command line without a server: usage, help, and what it says about itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from google.protobuf import descriptor_pb2, descriptor_pool
from transom_client import cli
from transom_client.cli import BUILT_IN, root
from transom_client.cli.process import Duration


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(root, arguments, prog_name="transom")
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", BUILT_IN)
def test_every_command_has_help(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert out.startswith(f"Usage: transom {command}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("process",),
        ("process", "no-such-file"),
        ("process", "-", "-"),
        ("process", "-", "--timeout", "soon"),
        ("process", "-", "--timeout", "0s"),
        ("process", "-", "--param", "novalue"),
        ("process", "-", "-o", "xml"),
        ("no-such-command",),
        ("runs", "list", "--state", "odd"),
        ("process", *["-"] * 65),
    ],
)
def test_bad_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    code, out, _ = run(*arguments)
    assert (code, out) == (2, "")


def test_without_a_profile_usage_is_wrong_and_the_hint_helps() -> None:
    code, _, err = run("runs", "list")
    assert code == 2
    assert err == "error: no profile is named\nhint: start `transom dev`, or use --profile or TRANSOM_PROFILE\n"


def test_the_profile_may_be_named_before_and_behind_the_command() -> None:
    for arguments in (("--profile", "nowhere", "runs", "list"), ("runs", "list", "--profile", "nowhere")):
        assert run(*arguments)[2].startswith("error: there is no profile nowhere\n")


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("7", 7), ("1.5s", 1.5)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_the_help_of_all_commands_is_shown_without_importing_them() -> None:
    script = (
        "import sys; from transom_client.cli import root; root(['--help'], standalone_mode=False);"
        "print([m for m in sys.modules if m.startswith('transom_client.cli.') and m != 'transom_client.cli.exits'])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_is_unexpected_is_told_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name="broken", value="client.test_cli_usage:failing", group=group)]

    monkeypatch.setattr(cli, "entry_points", broken)
    code, out, err = run("broken")
    assert (code, out) == (1, "")
    assert err.startswith("error: something unexpected happened (ValueError)\n")
    assert "SECRET" not in err


@click.command()
def failing() -> None:
    """Fail."""
    raise ValueError("SECRET")


def test_the_version_names_every_part() -> None:
    found = json.loads(run("version", "-o", "json")[1])
    assert {"transom-client", "transom-protos", "grpcio", "protobuf", "python"} <= set(found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_command(shell: str) -> None:
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "_TRANSOM_COMPLETE" in out


def test_the_contract_is_written_whole(tmp_path: Path) -> None:
    code, out, _ = run("protos", "export", str(tmp_path))
    assert code == 0
    for name in ("transom/runs/v1/run_service.proto", "google/rpc/status.proto", "buf/validate/validate.proto", "transom.binpb"):
        assert (tmp_path / name).exists()
        assert str(tmp_path / name) in out
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "transom.binpb").read_bytes()).file:
        pool.Add(file)
    assert len(pool.FindServiceByName("transom.runs.v1.RunService").methods) == 7


def test_the_written_protos_compile_and_mean_the_same(tmp_path: Path) -> None:
    run("protos", "export", str(tmp_path))
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert buf is not None
    image = tmp_path / "image.binpb"
    subprocess.run([buf, "build", str(tmp_path), "-o", f"{image}#format=binpb", "--as-file-descriptor-set"], check=True)
    compiled = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file}
    exported = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "transom.binpb").read_bytes())
    for file in exported.file:
        if not file.name.startswith("google/protobuf/"):
            assert _numbers(compiled[file.name]) == _numbers(file)


def _numbers(file: descriptor_pb2.FileDescriptorProto) -> dict[str, tuple[int, int, int, str]]:
    found: dict[str, tuple[int, int, int, str]] = {one.name: (one.number, one.type, one.label, one.extendee) for one in file.extension}
    for message in file.message_type:
        found |= {f"{message.name}.{one.name}": (one.number, one.type, one.label, one.type_name) for one in message.field}
    return found
