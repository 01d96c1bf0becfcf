"""Read the runner's settings: one TOML file. Only where the server is and who we are must be said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from transom_wire.limits import MIB

Positive = Annotated[int, msgspec.Meta(gt=0)]


class ConfigError(Exception):
    """The configuration file is not valid; the message names the key."""


def _attempts() -> int:
    return 2 * len(os.sched_getaffinity(0))


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one runner."""

    endpoint: str
    """`host:port` of the server."""
    ca: str
    """Certificate of the authority that the server's certificate is checked against (PEM)."""
    certificate: str
    key: str
    pool: str = "default"
    labels: dict[str, str] = {}
    """What runs can be matched by; `zone` names where documents stay."""
    proxy: str = ""
    """`http://user:password@host:port` of an HTTP CONNECT proxy; none by default, and none is taken from the environment."""
    plugins: list[str] | None = None
    """Ids of the installed plugins to offer; all by default."""
    plugin_paths: list[str] = []
    """Folders of plugins that are not installed: each holds `transom-plugin.toml` and is named as its module."""
    attempts: Positive = msgspec.field(default_factory=_attempts)
    """Attempts at once."""
    memory_bytes: Positive = 512 * MIB
    """Documents that may be assigned at once, in bytes."""
    max_result_bytes: Positive = 256 * MIB
    """Of one attempt."""
    max_pages: Positive = 2_000
    """Of one document."""
    max_pixels: Positive = 50_000_000
    """Of one page."""
    worker_memory_bytes: Positive | None = None
    """Most that one worker may use; what its plugin's manifest says by default."""
    warm_within_s: float = 60.0
    """How long a plugin may take to load."""
    drain_s: float = 30.0
    """How long live attempts may go on after SIGTERM."""
    log_level: str = "INFO"


def load(path: Path) -> Config:
    """Read the file; relative paths in it start from its folder.

    Raises:
        ConfigError: It cannot be read, or a key is unknown, missing, or of the wrong type. Values are never quoted.
    """
    try:
        config = msgspec.toml.decode(path.read_bytes(), type=Config)
    except OSError:
        raise ConfigError("the configuration file cannot be read") from None
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from None
    except msgspec.DecodeError:
        raise ConfigError("the configuration file is not valid TOML") from None
    folder = path.resolve().parent
    places = {name: str(folder / getattr(config, name)) for name in ("ca", "certificate", "key")}
    return msgspec.structs.replace(config, plugin_paths=[str(folder / one) for one in config.plugin_paths], **places)
