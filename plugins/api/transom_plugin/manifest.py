"""Read a plugin's `transom-plugin.toml`, strictly, and without importing the plugin."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FILE_NAME = "transom-plugin.toml"
API_VERSION = 1
ACTION_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")

DataClass = Literal["public", "internal", "personal", "content", "credential"]


class ManifestError(Exception):
    """The manifest is not valid; the message names the key and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
    """The table `[plugin]`."""

    id: str
    version: str
    api: int = API_VERSION
    """Version of the plugin API that it is written for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEntry:
    """One table `[[action]]`."""

    name: str
    """`plugin.verb`."""
    summary: str
    kind: Literal["engine", "transform", "connector"]
    accepts: Literal["document", "image", "both"]
    produces: Literal["page", "image", "pages", "part"]
    """`pages`: text pages or, where a page has no text, images."""
    media_types: tuple[str, ...] = ()
    """Of documents it accepts."""
    idempotent: bool = False
    side_effects: Literal["none", "external"] = "external"
    hosts: tuple[str, ...] = ()
    """`host:port` it may reach; none by default."""
    secrets: tuple[str, ...] = ()
    persistence: Literal["none", "deleted_after", "retained"] = "retained"
    """What the provider behind it keeps."""
    retention: str = ""
    """Where not `none`: the provider's retention, with source and date."""
    zone: str = ""
    max_bytes: int = 256 * 1024 * 1024
    max_pages: int = 2_000
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space that one call may use."""
    cpu_seconds: int = 600
    shares_pages: bool = False
    """Whether pages of one document may share a worker."""
    data_in: DataClass = "content"
    data_out: DataClass = "content"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the parameters; none are allowed by default."""

    @property
    def parameters_schema(self) -> str:
        """The schema as JSON text."""
        return json.dumps(self.parameters or {"type": "object", "additionalProperties": False}, sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A plugin, as it declares itself."""

    plugin: PluginEntry
    actions: tuple[ActionEntry, ...]


def locate(module_name: str) -> Path:
    """Find the manifest beside a package, without importing the package.

    Raises:
        ManifestError: There is none.
    """
    spec = importlib.util.find_spec(module_name.partition(".")[0])
    origin = Path(spec.origin).parent if spec is not None and spec.origin else None
    if origin is None or not (origin / FILE_NAME).is_file():
        raise ManifestError(f"{module_name} has no {FILE_NAME} beside it")
    return origin / FILE_NAME


def read(path: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        ManifestError: It is missing, or not valid.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError:
        raise ManifestError(f"{FILE_NAME} cannot be read") from None


def parse(text: str) -> Manifest:
    """Read a manifest's text.

    Raises:
        ManifestError: It is not valid.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"not valid TOML: {error}") from None
    unknown = set(tables) - {"plugin", "action"}
    if unknown:
        raise ManifestError(f"unknown table {min(unknown)}; allowed are plugin and action")
    plugin = _build(PluginEntry, tables.get("plugin", {}), "plugin")
    if plugin.api != API_VERSION:
        raise ManifestError(f"plugin.api must be {API_VERSION}")
    entries = tables.get("action", [])
    if not isinstance(entries, list) or not entries:
        raise ManifestError("at least one [[action]] is needed")
    actions = tuple(_action(entry, f"action[{number}]", plugin.id) for number, entry in enumerate(entries))
    if len({action.name for action in actions}) != len(actions):
        raise ManifestError("two actions have the same name")
    return Manifest(plugin=plugin, actions=actions)


def _action(entry: Any, where: str, plugin: str) -> ActionEntry:
    action: ActionEntry = _build(ActionEntry, entry, where)
    if not ACTION_NAME.fullmatch(action.name) or not action.name.startswith(f"{plugin}."):
        raise ManifestError(f"{where}.name must be {plugin}.verb, in lower case")
    if action.persistence != "none" and not action.retention:
        raise ManifestError(f"{where}.retention is needed unless persistence is none")
    return action


def _build(kind: type[Any], given: Any, where: str) -> Any:
    if not isinstance(given, dict):
        raise ManifestError(f"{where} must be a table")
    hints = typing.get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}
    for key in given:
        if key not in fields:
            raise ManifestError(f"unknown key {where}.{key}; allowed are {', '.join(fields)}")
    for name, one in fields.items():
        required = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise ManifestError(f"{where}.{name} is missing")
    return kind(**{key: _checked(value, hints[key], f"{where}.{key}") for key, value in given.items()})


def _checked(value: Any, hint: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ManifestError(f"{where} must be one of {', '.join(allowed)}")
        return value
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ManifestError(f"{where} must be a list of strings")
        return tuple(value)
    expected = dict if origin is not None and issubclass(origin, Mapping) else hint
    if isinstance(expected, types.UnionType) or type(value) is not expected:
        raise ManifestError(f"{where} must be of type {getattr(expected, '__name__', expected)}")
    return value
