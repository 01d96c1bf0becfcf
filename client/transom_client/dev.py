"""A server and a runner kept running as processes, with a trust domain of their own: `transom dev`, demos and tests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

import platformdirs
from transom_wire.credentials import TlsFiles

from transom_client import profile as profiles
from transom_client.child import Child, ChildFailed, output_of
from transom_client.profile import Profile, Setting, toml, write_private

READY_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 6.0
DRAIN_S: Final = 4.0
"""Told to server and runner: less than what they are given to stop."""
TOKEN_EVERY_S: Final = 600.0
RETRY_TOKEN_S: Final = 30.0
COMMAND_WITHIN_S: Final = 20.0
ROLES: Final = ("caller", "operator", "viewer")
CERTIFICATES_LAST_S: Final = 25 * 24 * 3600.0
"""They are valid for 30 days; a folder that comes near that gets new ones."""

Settings = Mapping[str, Setting | Mapping[str, Setting]]


class DevFailed(Exception):
    """The server or the runner could not be started; the message says what to do."""


def default_state() -> Path:
    """Return the state folder of `transom dev`."""
    return Path(platformdirs.user_state_dir("transom")) / "dev"


async def fresh_token(state: Path) -> str:
    """Return a new access token for the client certificate of a state folder.

    Raises:
        DevFailed: The folder holds no trust domain, or no server is installed.
    """
    _check_installed("transom_server")
    roles = [word for role in ROLES for word in ("--role", role)]
    try:
        return await output_of(["transom_server", "token", "--state", str(state), *roles], COMMAND_WITHIN_S)
    except ChildFailed as error:
        raise DevFailed(str(error)) from None


class DevServer:
    """A server and a runner, started on entry and ended on exit. Both end with this process, even if it is killed."""

    def __init__(
        self,
        state: Path | None = None,
        *,
        port: int = 0,
        server_settings: Settings | None = None,
        runner_settings: Settings | None = None,
        server_log: Path | None = None,
        runner_log: Path | None = None,
        with_runner: bool = True,
        profile: str | None = None,
    ) -> None:
        """Describe what is to run.

        Args:
            state: The state folder, created 0700 where it is missing; the user's own by default.
            port: Port of the server; 0 lets the system choose.
            server_settings: Keys of the server's configuration file.
            runner_settings: Keys of the runner's configuration file, beside those that say where the server is.
            server_log: File for the server's log; dropped when None.
            runner_log: File for the runner's log; dropped when None.
            with_runner: Whether there is a runner.
            profile: Name of a profile to write, for the time it runs; none when None.
        """
        self.state = state or default_state()
        self.endpoint = ""
        self.token = ""
        self._port = port
        self._settings = {"server": dict(server_settings or {}), "runner": dict(runner_settings or {})}
        self._profile = profile
        self.server = Child("server", self._server_arguments(), log=server_log)
        self.runner: Child | None = None
        if with_runner:
            arguments = ["transom_runner", "run", "--config", str(self.state / "runner.toml"), "--exit-with-parent"]
            self.runner = Child("runner", arguments, log=runner_log)
        self._refresher: asyncio.Task[None] | None = None

    @property
    def tls(self) -> TlsFiles:
        """Certificates of a client."""
        return TlsFiles(ca=self.state / "ca.pem", certificate=self.state / "client.pem", key=self.state / "client.key")

    @property
    def profile(self) -> Profile:
        """How to reach the server."""
        files = self.tls
        return Profile(
            endpoint=self.endpoint, ca=str(files.ca), certificate=str(files.certificate), key=str(files.key),
            token_file=str(self.state / "token"),
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException as error:
            await self.close()
            if isinstance(error, ChildFailed):
                raise DevFailed(str(error)) from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def wait(self) -> Child:
        """Wait until one of the processes ends; returns that one. Nothing but `close` ends them on purpose."""
        children = [child for child in (self.server, self.runner) if child is not None]
        tasks = {asyncio.create_task(child.ended(), name=f"end of {child.name}"): child for child in children}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return tasks[done.pop()]

    async def close(self) -> None:
        """End both, in bounded time: the runner first, while the server can still take its results."""
        if self._refresher is not None:
            self._refresher.cancel()
        if self.runner is not None:
            await self.runner.stop(STOP_WITHIN_S)
        await self.server.stop(STOP_WITHIN_S)
        if self.endpoint:
            self.endpoint = ""
            for name in ("endpoint", "token", "pid"):
                (self.state / name).unlink(missing_ok=True)
            if self._profile is not None:
                profiles.forget(self._profile)

    # Starting, step by step.

    def _server_arguments(self) -> list[str]:
        config = str(self.state / "server.toml")
        port = str(self._port)
        return ["transom_server", "run", "--state", str(self.state), "--port", port, "--config", config, "--exit-with-parent"]

    async def _start(self) -> None:
        _check_installed("transom_server")
        await self._prepare_state()
        await self.server.start()
        ready = await self.server.event("server.ready", READY_WITHIN_S)
        self.endpoint = f"127.0.0.1:{ready['port']}"
        self._write("pid", str(os.getpid()))
        self._write("endpoint", self.endpoint)
        await self._refresh_token()
        self._refresher = asyncio.create_task(self._keep_token_fresh(), name="token refresher")
        if self.runner is not None:
            _check_installed("transom_runner")
            self._write("runner.toml", toml(self._runner_settings()))
            await self.runner.start()
            await self.runner.event("session.opened", READY_WITHIN_S)
        if self._profile is not None:
            profiles.save(self._profile, self.profile)

    async def _prepare_state(self) -> None:
        state = self.state
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        self._refuse_second()
        authority = state / "ca.pem"
        if authority.exists() and time.time() - authority.stat().st_mtime > CERTIFICATES_LAST_S:
            for path in (*state.glob("*.pem"), *state.glob("*.key")):
                path.unlink()
        if not authority.exists():
            await output_of(["transom_server", "init", "--state", str(state)], COMMAND_WITHIN_S)
        self._write("server.toml", toml({"drain_s": DRAIN_S, **self._settings["server"]}))

    def _refuse_second(self) -> None:
        try:
            endpoint = (self.state / "endpoint").read_text(encoding="utf-8").strip()
        except OSError:
            return
        if profiles.reachable(endpoint):
            raise DevFailed("`transom dev` already runs with this state folder; stop it, or choose another with --state")

    def _runner_settings(self) -> Settings:
        where = {"endpoint": self.endpoint, "ca": "ca.pem", "certificate": "runner.pem", "key": "runner.key"}
        return {**where, "drain_s": DRAIN_S, **self._settings["runner"]}

    async def _refresh_token(self) -> None:
        self.token = await fresh_token(self.state)
        self._write("token", self.token)

    async def _keep_token_fresh(self) -> None:
        pause_s = TOKEN_EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._refresh_token()
                pause_s = TOKEN_EVERY_S
            except DevFailed:
                pause_s = RETRY_TOKEN_S

    def _write(self, name: str, text: str) -> None:
        write_private(self.state / name, text)


def _check_installed(module: str) -> None:
    if find_spec(module) is None:
        distribution = module.replace("_", "-")
        raise DevFailed(f"{distribution} is not installed here; install it with `pip install {distribution}`")
