"""Set up what a group measures: a trust domain, the real server, the relay, and who sends and answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Program, Troupe, run_once
from bench.rows import Cell

ECHO_PLUGIN = Path(__file__).resolve().parent / "echo_plugin"
ANSWER_MARGIN_S = 60.0
TOKEN_LIFETIME_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and how often to measure."""

    seconds: float
    rounds: int
    smoke: bool = False

    @classmethod
    def of_environment(cls, seconds: float | None, rounds: int | None) -> Pace:
        """Take what the command line says, else what a smoke run or a full one needs."""
        smoke = os.environ.get("SMOKE") == "1"
        return cls(seconds=seconds or (0.05 if smoke else 2.0), rounds=rounds or (1 if smoke else 5), smoke=smoke)


class Stage:
    """One trust domain, and the programs on it."""

    def __init__(self, troupe: Troupe, folder: Path, pace: Pace) -> None:
        self._troupe = troupe
        self.state = folder / "state"
        self.pace = pace
        run_once("-m", "transom_server", "init", "--state", str(self.state))
        token = run_once("-m", "transom_server", "token", "--state", str(self.state), "--lifetime", str(TOKEN_LIFETIME_S))
        self._environment = {"BENCH_TOKEN": token}

    def program(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Program:
        """Start one of our own programs on this stage; it speaks on its standard output."""
        variables = {**self._environment, **(environment or {})}
        return self._troupe.start(module, "-m", f"bench.{module}", *arguments, environment=variables)

    def server(self, *arguments: str) -> tuple[Program, int]:
        """Start the real server; returns it and its port."""
        command = ("-m", "transom_server", "run", "--state", str(self.state), "--port", "0", "--exit-with-parent", *arguments)
        server = self._troupe.start("server", *command, hear="stderr")
        return server, server.hear("server.ready")["port"]

    def echo_runner(self, port: int) -> None:
        """Start a runner of the real protocol that echoes."""
        self._on_port("echo_runner", port)

    def runner(self, port: int, *, plugins: Sequence[str]) -> None:
        """Start the real runner with these plugins, among which may be the one that echoes."""
        settings: dict[str, object] = {"endpoint": f"127.0.0.1:{port}", "plugins": list(plugins), "plugin_paths": [str(ECHO_PLUGIN)]}
        settings |= {"ca": str(self.state / "ca.pem"), "certificate": str(self.state / "runner.pem"), "key": str(self.state / "runner.key")}
        config = self.state / "runner.toml"
        # A JSON string, or a list of them, is TOML as well.
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()), "utf-8")
        command = ("-m", "transom_runner", "run", "--config", str(config), "--exit-with-parent")
        self._troupe.start("runner", *command, hear="stderr").hear("session.opened")

    def relay(self) -> int:
        """Start the relay and its runner; returns the relay's port."""
        port: int = self.program("limits.relay", "--state", str(self.state)).hear("ready")["port"]
        self._on_port("limits.echo", port)
        return port

    def load(self, way: str, port: int, *arguments: str) -> Load:
        """Start a process that sends documents in one way."""
        return Load(self._on_port("load", port, way, *arguments), self.pace)

    def _on_port(self, module: str, port: int, *arguments: str) -> Program:
        program = self.program(module, *arguments, "--state", str(self.state), "--port", str(port))
        program.hear("ready")
        return program


class Load:
    """A process that sends documents when asked to."""

    def __init__(self, program: Program, pace: Pace) -> None:
        self._program = program
        self._pace = pace

    def figure(self, cell: Cell) -> float:
        """Send for a while; returns the figure that the cell wants."""
        answer = self.send(cell.size_bytes, cell.concurrency, self._pace.seconds)
        return float(answer[cell.figure])

    def send(self, size_bytes: int, concurrency: int, seconds: float, at_most: int = 1_000_000) -> dict[str, float]:
        """Send documents for a while, or until there were enough; returns all figures."""
        return self._program.ask(
            seconds + ANSWER_MARGIN_S, size_bytes=size_bytes, concurrency=concurrency, seconds=seconds, at_most=at_most
        )  # fmt: skip
