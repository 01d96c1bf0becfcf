"""Read the server's settings: a TOML file, then the command line. Everything has a default that works on one machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
from transom_wire.credentials import TlsFiles
from transom_wire.limits import MAX_DOCUMENT_BYTES, MIB


class ConfigError(Exception):
    """The configuration file is not valid; the message names the key."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one server."""

    state: str
    """Folder of certificates, keys and ledger."""
    trust_domain: str = "transom.internal"
    host: str = "127.0.0.1"
    port: int = 7443
    """Port of gRPC; 0 lets the system choose."""
    http_host: str = "127.0.0.1"
    http_port: int = 0
    """Port of /healthz and /metrics on loopback; 0 lets the system choose."""
    memory_bytes: int = 512 * MIB
    """The RAM budget: documents and results in memory, over all runs."""
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    max_runs: int = 10_000
    """Live runs at once."""
    max_runs_per_stream: int = 1024
    default_timeout_s: float = 300.0
    max_timeout_s: float = 3600.0
    max_detach_grace_s: float = 300.0
    """The most that a run waits for another caller when its own is gone, whatever it asks for."""
    min_containment: int = 2
    """Number of transom.runs.v1.ContainmentLevel that a run gets when it asks for none: 2 is LIMITS."""
    accept_within_s: float = 2.0
    kill_after_s: float = 0.2
    heartbeat_every_s: float = 10.0
    dead_after_s: float = 25.0
    resume_grace_s: float = 10.0
    """How long attempts wait for their runner after its session broke."""
    max_session_age_s: float = 3600.0
    """Age at which a runner is asked for a new session; 0 is never."""
    drain_s: float = 30.0
    """How long live runs may go on after SIGTERM."""
    log_level: str = "INFO"

    def tls(self) -> TlsFiles:
        """Return where the server's certificate lies."""
        state = Path(self.state)
        return TlsFiles(ca=state / "ca.pem", certificate=state / "server.pem", key=state / "server.key")


def load(path: Path | None, **overrides: object) -> Config:
    """Read `path` (or nothing) and let `overrides` win.

    Raises:
        ConfigError: The file cannot be read, or a key is unknown or of the wrong type. Values are never quoted.
    """
    try:
        given = msgspec.toml.decode(path.read_bytes()) if path else {}
    except OSError:
        raise ConfigError("the configuration file cannot be read") from None
    except msgspec.DecodeError:
        raise ConfigError("the configuration file is not valid TOML") from None
    given.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return msgspec.convert(given, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from None
