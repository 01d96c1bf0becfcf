"""Measure every peer beside ourselves, in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bench.peers.field import ENVIRONMENT, Peer, Start
from bench.peers.results import Comparison
from bench.processes import Broken, Program, Troupe
from bench.rows import KIB, MIB
from bench.stage import Load, Pace, Stage

SIZES = (KIB, 64 * KIB, MIB)
CONCURRENCIES = (1, 16)
STARTS_WITHIN_S = 70.0


class Sends(Protocol):
    """Who sends documents for a while when asked to, and tells how long they took."""

    def send(self, size_bytes: int, concurrency: int, seconds: float) -> dict[str, float]: ...


def beside(peer: str, sides: Mapping[str, Sends], pace: Pace, until: float) -> list[Comparison]:
    """Measure all sides in turns, round by round; a round does not begin after `until`."""
    compared = [Comparison(peer=peer, size_bytes=size, concurrency=many) for size in SIZES for many in CONCURRENCIES]
    names = list(sides)
    for number in range(pace.rounds):
        if time.monotonic() > until:
            break
        # Each comes first as often as the others.
        turns = names[number % len(names) :] + names[: number % len(names)]
        for one in compared:
            for name in turns:
                one.add(name, sides[name].send(one.size_bytes, one.concurrency, pace.seconds))
    return [one for one in compared if one.rounds()]


def ourselves(troupe: Troupe, folder: Path, pace: Pace) -> dict[str, Sends]:
    """Start Transom twice: with the runner that only echoes, and with the real one and its forks."""
    sides: dict[str, Sends] = {}
    for name in ("echo", "forked"):
        (folder / name).mkdir()
        stage = Stage(troupe, folder / name, pace)
        _, port = stage.server()
        if name == "echo":
            stage.echo_runner(port)
        else:
            stage.runner(port, plugins=("bench",))
        sides[name] = stage.load("process", port)
    return sides


class Rival:
    """One peer's server, worker and load."""

    def __init__(self, troupe: Troupe, folder: Path, pace: Pace) -> None:
        self._troupe = troupe
        self._folder = folder
        self._pace = pace
        self._python = str(ENVIRONMENT / "bin" / "python")

    def load(self, peer: Peer) -> Load:
        """Start everything that the peer needs; returns who sends through it."""
        executable = peer.server.found()
        assert executable is not None
        for start in peer.server.starts(executable, self._folder):
            self._mind(start.command, start)
        variables = {"PEER_URL": peer.server.url.format(port=start.port), "PEER_RESULTS": peer.server.results.format(port=start.port)}
        if peer.minded:
            self._mind((self._python, *peer.worker), Start(command=(), port=0, environment=variables))
        else:
            self._own("worker", *peer.worker, environment=variables)
        return Load(self._own("send", "-m", "bench.peers.send", peer.way, environment=variables), self._pace)

    def _mind(self, command: Sequence[str], start: Start) -> None:
        name = Path(command[0]).name
        log = self._folder / f"{name}.log"
        arguments = ("-m", "bench.peers.minder", "--port", str(start.port), "--log", str(log), "--", *command)
        self._troupe.start(name, *arguments, environment=start.environment).hear("ready", STARTS_WITHIN_S)

    def _own(self, name: str, *arguments: str, environment: Mapping[str, str]) -> Program:
        program = self._troupe.start(name, *arguments, environment=environment, python=self._python)
        program.hear("ready")
        return program


def measure(folder: Path, pace: Pace, peers: Sequence[Peer], until: float) -> tuple[list[Comparison], dict[str, str]]:
    """Measure the peers that are here; returns the comparisons, and why others were left out."""
    left_out = {peer.name: words for peer in peers if (words := peer.absent()) is not None}
    compared: list[Comparison] = []
    present = [peer for peer in peers if peer.name not in left_out]
    if not present:
        return compared, left_out
    with Troupe() as troupe:
        ours = ourselves(troupe, folder, pace)
        for peer in present:
            (folder / peer.name).mkdir()
            try:
                # One peer at a time: the others' idle programs would take part of the machine.
                with Troupe() as guests:
                    load = Rival(guests, folder / peer.name, pace).load(peer)
                    measured = beside(peer.name, {"peer": load, **ours}, pace, until)
            except Broken as error:
                left_out[peer.name] = f"{peer.name} is left out: {error}."
                continue
            compared += measured
            if not measured:
                left_out[peer.name] = f"{peer.name} is left out: the time was up before its first round."
    return compared, left_out
