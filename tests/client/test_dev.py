"""`transom dev`: real processes, a state folder of its own, and no orphans."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import psutil
import pytest
from transom_client import Client
from transom_client import profile as profiles
from transom_client.child import Child, ChildFailed, output_of
from transom_client.dev import DevFailed, DevServer
from transom_client.states import RunnerStatus

from client.command import started, transom

WITHIN_S = 60.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="the runner needs Linux")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "dev state"


async def greeting(process: asyncio.subprocess.Process) -> str:
    """Read what `transom dev` prints until it is ready."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(WITHIN_S):
        while not (lines and lines[-1].startswith("Ctrl-C")):
            line = await process.stdout.readline()
            assert line, "transom dev ended early"
            lines.append(line.decode())
    return "".join(lines)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def gone(children: list[psutil.Process]) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, WITHIN_S)
    return not alive


async def test_a_server_has_a_private_folder_a_token_and_a_profile(state: Path, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    async with DevServer(state, with_runner=False, server_log=log, profile="dev") as server:
        assert mode(state) == 0o700
        assert (state / "endpoint").read_text() == server.endpoint
        assert (state / "token").read_text() == server.token
        assert (state / "pid").read_text() == str(os.getpid())
        for name in ("token", "client.key", "endpoint"):
            assert mode(state / name) == 0o600
        async with Client() as client:
            assert await client.runners() == []
    assert b"server.ready" in log.read_bytes()
    assert not (state / "token").exists()
    assert profiles.names() == []
    assert await server.server.ended() == 0


async def test_a_second_one_on_the_same_folder_is_refused(state: Path) -> None:
    async with DevServer(state, with_runner=False):
        with pytest.raises(DevFailed, match="already runs"):
            await DevServer(state, with_runner=False).__aenter__()
        assert (state / "endpoint").exists()


async def test_the_folder_can_be_used_again(state: Path) -> None:
    for _ in range(2):
        async with DevServer(state, with_runner=False) as server, Client(server.profile) as client:
            assert await client.runners() == []


async def test_a_folder_whose_certificates_grow_old_gets_new_ones(state: Path) -> None:
    async with DevServer(state, with_runner=False):
        old = (state / "ca.pem").read_bytes()
    os.utime(state / "ca.pem", (0, 0))
    async with DevServer(state, with_runner=False) as server:
        assert (state / "ca.pem").read_bytes() != old
        async with Client(server.profile) as client:
            assert await client.actions() == []


async def test_what_is_wrong_with_the_settings_is_told(state: Path) -> None:
    with pytest.raises(DevFailed, match="unknown"):
        await DevServer(state, with_runner=False, server_settings={"unknown": 1}).__aenter__()


@linux
async def test_a_runner_is_connected_and_ends_with_its_server(state: Path) -> None:
    async with DevServer(state, runner_settings={"pool": "here", "labels": {"zone": "eu"}}) as server:
        assert server.runner is not None
        child = psutil.Process(server.runner.pid)
        family = [child, *child.children(recursive=True)]
        async with Client(server.profile) as client:
            (runner,) = await client.runners()
        assert (runner.status, runner.pool) == (RunnerStatus.CONNECTED, "here")
        child.kill()
        async with asyncio.timeout(WITHIN_S):
            assert (await server.wait()).name == "runner"
    assert await gone(family)


@linux
async def test_the_lines_that_it_prints_work_as_printed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    async with started("dev", "--state", str(state)) as process:
        printed = await greeting(process)
        (grpcurl,) = re.findall(r"^ +(grpcurl .*)$", printed, re.MULTILINE)
        shell = await asyncio.create_subprocess_shell(grpcurl, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await shell.communicate()
        assert (shell.returncode, err) == (0, b"")
        assert b"ocr.auto" in out
        assert (await transom("actions", "list")).code == 0
        token = await transom("dev", "token", "--state", str(state))
        assert token.out.count(".") == 2
        assert (await transom("dev", "token")).code == 0
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(WITHIN_S):
            await process.communicate()
    assert process.returncode == 0
    assert (await transom("dev", "token")).code == 4
    assert shlex.split(grpcurl)[0] == "grpcurl"


@linux
async def test_nothing_is_left_when_it_is_killed(state: Path) -> None:
    async with started("dev", "--state", str(state)) as process:
        await greeting(process)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        process.kill()
        await process.wait()
        assert await gone(family)


async def test_a_child_that_ends_early_says_why() -> None:
    child = Child("server", ["transom_server", "run", "--state", "/nowhere"])
    await child.start()
    with pytest.raises(ChildFailed, match="not initialised"):
        await child.event("server.ready", WITHIN_S)
    await child.stop(1.0)


async def test_a_child_that_is_not_ready_in_time_is_told(state: Path) -> None:
    async with DevServer(state, with_runner=False) as server:
        with pytest.raises(ChildFailed, match="not ready"):
            await server.server.event("never", 0.05)


async def test_a_command_that_fails_does_not_show_what_it_printed() -> None:
    with pytest.raises(ChildFailed) as caught:
        await output_of(["transom_server", "no-such-verb"], WITHIN_S)
    assert "usage" not in str(caught.value)
