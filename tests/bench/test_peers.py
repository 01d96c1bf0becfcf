"""The comparison with peers says what it should, with a peer that is made up; the real ones are for `make bench-peers`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers.compare import CONCURRENCIES, SIZES, beside, measure
from bench.peers.field import ENVIRONMENT, PEERS, Peer, Server, Start, free_port
from bench.peers.results import keep, table
from bench.processes import Broken, Troupe
from bench.stage import Pace

HERE = Path(__file__).resolve().parent
WITHIN_S = 30.0
PACE = Pace(seconds=0.01, rounds=3, smoke=True)
LISTENS = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


class Answers:
    """A side that takes as long as it is told to."""

    def __init__(self, name: str, p50_s: float, asked: list[str]) -> None:
        self._name = name
        self._p50_s = p50_s
        self._asked = asked

    def send(self, size_bytes: int, concurrency: int, seconds: float) -> dict[str, float]:
        self._asked.append(self._name)
        return {"p50_s": self._p50_s, "rate": concurrency / self._p50_s, "count": 1}


def sides(asked: list[str]) -> dict[str, Answers]:
    return {name: Answers(name, p50_s, asked) for name, p50_s in (("peer", 0.004), ("echo", 0.001), ("forked", 0.006))}


def never(executable: str, folder: Path) -> Sequence[Start]:
    raise AssertionError("a server that is not here is not started")


def away(environment: Path) -> Peer:
    """Make up a peer whose package is here and whose server is not."""
    (environment / "lib" / "python3" / "site-packages" / "wishes").mkdir(parents=True)
    server = Server(executable="no-such-server", install="apt-get install wishes", starts=never, url="", results="")
    return Peer(name="wishes", way="wishes", server=server, worker=(), keeps="nothing")


def test_every_load_is_sent_by_every_side_in_turns() -> None:
    asked: list[str] = []
    compared = beside("wishes", sides(asked), PACE, until=time.monotonic() + WITHIN_S)
    assert [(one.size_bytes, one.concurrency) for one in compared] == [(size, many) for size in SIZES for many in CONCURRENCIES]
    assert {one.rounds() for one in compared} == {3}
    firsts = [asked[at] for at in range(0, len(asked), 3 * len(compared))]
    assert firsts == ["peer", "echo", "forked"], "each round begins with another"


def test_no_round_begins_after_the_time_is_up() -> None:
    asked: list[str] = []
    assert beside("wishes", sides(asked), PACE, until=time.monotonic() - 1) == []
    assert asked == []


def test_people_and_programs_read_the_same_figures(tmp_path: Path) -> None:
    compared = beside("wishes", sides([]), PACE, until=time.monotonic() + WITHIN_S)
    lines = table(compared).splitlines()
    assert len(lines) == 2 + len(compared)
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "wishes", "1 KiB", "1", "4.00 ms", "250/s", "1.00 ms", "0.25", "1000/s", "4.00", "6.00 ms", "1.50", "167/s", "0.67"
    ]  # fmt: skip
    keep(tmp_path / "build" / "bench-peers.json", compared, {"others": "others is left out: it is not here."})
    kept = json.loads((tmp_path / "build" / "bench-peers.json").read_text())
    assert kept["left_out"] == {"others": "others is left out: it is not here."}
    assert set(kept["machine"]) == {"cores", "kernel", "python"}
    assert kept["rows"][0] == {
        "peer": "wishes", "size_bytes": 1024, "concurrency": 1, "rounds": 3,
        "figures": {
            "peer": {"p50_s": 0.004, "rate": 250.0}, "echo": {"p50_s": 0.001, "rate": 1000.0},
            "forked": {"p50_s": 0.006, "rate": pytest.approx(166.67, rel=0.01)},
        },
        "ratios": {"echo": {"p50_s": 0.25, "rate": 4.0}, "forked": {"p50_s": 1.5, "rate": 0.6667}},
    }  # fmt: skip


def test_an_absent_server_is_told_with_what_installs_it(tmp_path: Path) -> None:
    told = away(tmp_path / ".venv-peers").absent(tmp_path / ".venv-peers")
    assert told == "wishes is left out: no-such-server is not on the PATH; `apt-get install wishes` installs it."


def test_an_absent_package_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    peer = replace(PEERS[0], name="wishes", way="no-such-package")
    compared, left_out = measure(tmp_path, PACE, [peer], until=time.monotonic() + WITHIN_S)
    assert compared == []
    assert left_out == {
        "wishes": f"wishes is left out: the package no-such-package is not in {ENVIRONMENT.name}, which `make bench-peers` fills."
    }
    assert list(tmp_path.iterdir()) == []


async def test_the_command_tells_what_is_absent_and_succeeds(tmp_path: Path) -> None:
    output = tmp_path / "bench-peers.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "peers"), "--peer", "celery-redis", "--peer", "celery-rabbitmq", "--output", str(output),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "SMOKE": "1", "PATH": str(tmp_path)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    for peer in ("celery-redis", "celery-rabbitmq"):
        assert f"{peer} is left out: ".encode() in printed
        assert json.loads(output.read_text())["left_out"][peer].startswith(f"{peer} is left out: ")


def minded(troupe: Troupe, log: Path, port: int, program: str) -> None:
    command = (sys.executable, "-c", program, str(port))
    arguments = ("-m", "bench.peers.minder", "--port", str(port), "--log", str(log), "--", *command)
    troupe.start("minder", *arguments).hear("ready", WITHIN_S)


def test_a_minded_program_ends_with_the_benchmark(tmp_path: Path) -> None:
    port = free_port()
    with Troupe() as troupe:
        minded(troupe, tmp_path / "log", port, LISTENS)
        socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)


def test_a_minded_program_that_ends_at_once_is_noticed(tmp_path: Path) -> None:
    with Troupe() as troupe, pytest.raises(Broken, match="minder ended"):
        minded(troupe, tmp_path / "log", free_port(), "raise SystemExit('no room')")
