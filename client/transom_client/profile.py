"""Profiles: where a server is and how to prove who you are, one TOML file each in the user's configuration folder."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import platformdirs
from transom_wire.credentials import TlsFiles

DEV: Final = "dev"
"""The profile that `transom dev` writes."""
VARIABLE: Final = "TRANSOM_PROFILE"
REACH_WITHIN_S: Final = 0.5
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

Setting = str | int | float | bool | list[str] | tuple[str, ...]


class ProfileError(Exception):
    """There is no usable profile; the message says what to do."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach one server, as whom."""

    endpoint: str
    """HOST:PORT."""
    ca: str
    """File of the authority that issued the server's certificate (PEM)."""
    certificate: str
    """File of the client's certificate (PEM)."""
    key: str
    """File of its key (PEM)."""
    token: str = ""
    """An access token; better keep it in a file."""
    token_file: str = ""
    """File of an access token that somebody keeps fresh."""
    renew: tuple[str, ...] = ()
    """Command that prints a fresh access token."""

    def __repr__(self) -> str:
        return f"Profile({self.endpoint})"

    def tls(self) -> TlsFiles:
        """Return where the certificates lie."""
        return TlsFiles(ca=Path(self.ca), certificate=Path(self.certificate), key=Path(self.key))


def folder() -> Path:
    """Return the folder of profiles."""
    return Path(platformdirs.user_config_dir("transom")) / "profiles"


def load(name: str) -> Profile:
    """Read a profile.

    Raises:
        ProfileError: There is none of this name, or it is not valid. Values are never quoted.
    """
    try:
        return msgspec.toml.decode(_path(name).read_bytes(), type=Profile)
    except OSError:
        raise ProfileError(f"there is no profile {name}; `transom doctor` tells what to do") from None
    except msgspec.ValidationError as error:
        raise ProfileError(f"the profile {name} is not valid: {error}") from None
    except msgspec.DecodeError:
        raise ProfileError(f"the profile {name} is not valid TOML") from None


def save(name: str, profile: Profile) -> Path:
    """Write a profile, readable by its owner only; returns its file.

    Raises:
        ProfileError: The name is not one.
    """
    path = _path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = {key: value for key, value in msgspec.structs.asdict(profile).items() if value}
    write_private(path, toml(settings))
    return path


def forget(name: str) -> None:
    """Remove a profile, if there is one."""
    _path(name).unlink(missing_ok=True)


def names() -> list[str]:
    """List the profiles."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def select(name: str | None = None) -> tuple[str, Profile]:
    """Return the profile to use, with its name: the one asked for, that of the environment, or a live `dev`.

    Raises:
        ProfileError: There is none.
    """
    chosen = name or os.environ.get(VARIABLE)
    if chosen:
        return chosen, load(chosen)
    if _path(DEV).exists():
        profile = load(DEV)
        if reachable(profile.endpoint):
            return DEV, profile
        raise ProfileError("`transom dev` does not run, and no other profile is named; start it, or use --profile or TRANSOM_PROFILE")
    raise ProfileError("no profile is named; start `transom dev`, or use --profile or TRANSOM_PROFILE")


def reachable(endpoint: str) -> bool:
    """Say whether something listens at an endpoint. A process id would not tell: it may be somebody else's by now."""
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_WITHIN_S):
            return True
    except (OSError, ValueError):
        return False


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ProfileError("a profile's name is made of letters, digits, - and _")
    return folder() / f"{name}.toml"


def toml(settings: Mapping[str, Setting | Mapping[str, Setting]]) -> str:
    """Write settings as TOML: plain values first, then one table for each mapping."""
    plain = [f"{_key(key)} = {_value(value)}\n" for key, value in settings.items() if not isinstance(value, Mapping)]
    tables = [f"\n[{_key(key)}]\n{toml(value)}" for key, value in settings.items() if isinstance(value, Mapping)]
    return "".join(plain + tables)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)


def _value(value: Setting) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's strings, numbers and booleans are TOML's too, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    temporary.replace(path)
