"""Know what this runner can do, from manifests alone: plugin code is never imported here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import msgspec
from transom_plugin.manifest import FILE_NAME, ActionEntry, Manifest, ManifestError, locate, read

from transom_runner import flows
from transom_runner.flows import FlowEntry

log = logging.getLogger(__name__)

GROUP: Final = "transom.plugins"
_ORDER: Final = {"none": 0, "deleted_after": 1, "retained": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One plugin that was found: how to load it, and what it declares."""

    module: str
    path: tuple[str, ...]
    """Folders that its template must search beside the installed packages."""
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One action or flow, as the server is told of it."""

    name: str
    plugin: str
    version: str
    summary: str
    kind: str
    media_types: tuple[str, ...]
    parameters_schema: str
    idempotent: bool
    side_effects: bool
    hosts: tuple[str, ...]
    persistence: str
    max_bytes: int
    max_pages: int
    needs: tuple[str, ...] = ()
    """Actions that a flow calls."""


def find(paths: Sequence[str], wanted: Iterable[str] | None = None) -> list[Plugin]:
    """Find the installed plugins and those in folders; one with a bad manifest is left out and logged.

    Args:
        paths: Folders of plugins that are not installed.
        wanted: Ids to offer; all when None.
    """
    found = [(point.value, (), None) for point in entry_points(group=GROUP)]
    given = [(Path(path).name, (str(Path(path).parent),), Path(path) / FILE_NAME) for path in paths]
    plugins: dict[str, Plugin] = {}
    for module, path, file in [*found, *given]:
        try:
            manifest = read(file or locate(module))
        except ManifestError:
            log.warning("plugin.bad_manifest", extra={"plugin": module})
            continue
        if wanted is None or manifest.plugin.id in set(wanted):
            plugins[manifest.plugin.id] = Plugin(module=module, path=path, manifest=manifest)
    return list(plugins.values())


def offers(plugins: Iterable[Plugin]) -> dict[str, Offer]:
    """Return every action of these plugins, and every flow whose actions are all there, by name."""
    actions = {action.name: _offer(plugin.manifest, action) for plugin in plugins for action in plugin.manifest.actions}
    walked = [flow for flow in flows.BY_NAME.values() if all(need in actions for need in flow.needs)]
    return actions | {flow.name: _flow(flow, actions) for flow in walked}


def _offer(manifest: Manifest, action: ActionEntry) -> Offer:
    return Offer(
        name=action.name, plugin=manifest.plugin.id, version=manifest.plugin.version, summary=action.summary, kind=action.kind,
        media_types=action.media_types, parameters_schema=action.parameters_schema, idempotent=action.idempotent,
        side_effects=action.side_effects != "none", hosts=action.hosts, persistence=action.persistence,
        max_bytes=action.max_bytes, max_pages=action.max_pages,
    )  # fmt: skip


def _flow(flow: FlowEntry, actions: Mapping[str, Offer]) -> Offer:
    """Describe a flow: it accepts what any of its actions accepts, and is as careful as the least careful of them."""
    parts = [actions[need] for need in flow.needs]
    return Offer(
        name=flow.name, plugin="transom", version=parts[0].version, summary=flow.summary, kind="flow",
        media_types=tuple(dict.fromkeys(one for part in parts for one in part.media_types)),
        parameters_schema=_merged([part.parameters_schema for part in parts]),
        idempotent=all(part.idempotent for part in parts), side_effects=any(part.side_effects for part in parts),
        hosts=tuple(dict.fromkeys(one for part in parts for one in part.hosts)),
        persistence=max((part.persistence for part in parts), key=_ORDER.__getitem__),
        max_bytes=min(part.max_bytes for part in parts), max_pages=min(part.max_pages for part in parts), needs=flow.needs,
    )  # fmt: skip


def _merged(schemas: Iterable[str]) -> str:
    """Join the parameters of several actions into one schema."""
    properties: dict[str, Any] = {}
    for schema in schemas:
        properties |= msgspec.json.decode(schema).get("properties", {})
    merged = {"type": "object", "additionalProperties": False, "properties": properties}
    return msgspec.json.encode(merged, order="sorted").decode()
