"""Know the actions that runners offer, and check a run's demands against them before a byte moves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jsonschema
from jsonschema.exceptions import SchemaError
from transom_wire.errors import BadParameters, MediaTypeUnsupported, PolicyRefused

PERSISTENCE_NONE = 1
MAX_SCHEMA_BYTES = 64 * 1024
Validator = jsonschema.Draft202012Validator


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action, as a runner's manifest declares it. Numbers are those of transom.plugins.v1."""

    name: str
    plugin: str
    version: str
    summary: str
    kind: int
    media_types: tuple[str, ...]
    parameters_schema: str
    idempotent: bool
    hosts: tuple[str, ...]
    persistence: int
    max_bytes: int
    max_pages: int
    validator: Validator | None = field(default=None, compare=False, repr=False)
    needs_parameters: bool = True
    """Whether the schema refuses a run without parameters."""

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check parameters against the action's schema. Only field paths and rule names are told, never a value.

        Raises:
            BadParameters: With one violation for each field that does not fit.
        """
        if self.validator is None or not (parameters or self.needs_parameters):
            return
        errors = list(self.validator.iter_errors(dict(parameters)))
        if errors:
            raise BadParameters(violations=[_violation(error) for error in errors[:10]])

    def check_media_type(self, media_type: str) -> None:
        """Check that the action takes such documents.

        Raises:
            MediaTypeUnsupported: It does not.
        """
        if self.media_types and media_type not in self.media_types:
            raise MediaTypeUnsupported(metadata={"supported": ",".join(self.media_types)[:512]})

    def check_persistence(self, at_most: int) -> None:
        """Check that no provider behind the action keeps more than the caller allows.

        Raises:
            PolicyRefused: It keeps more, or does not say.
        """
        declared = self.persistence or 3
        if declared > (at_most or PERSISTENCE_NONE):
            raise PolicyRefused


def _violation(error: jsonschema.ValidationError) -> tuple[str, str]:
    path = ".".join(["parameters", *(str(step) for step in error.absolute_path)])
    rule = str(error.validator)
    if rule == "additionalProperties":
        schema = error.schema if isinstance(error.schema, dict) else {}
        allowed = ", ".join(sorted(schema.get("properties", {}))) or "none"
        return path, f"unknown parameter; the known ones are: {allowed}"
    if rule in {"enum", "minimum", "maximum", "type", "pattern", "required", "maxLength", "minLength"}:
        return path, f"must satisfy {rule}: {json.dumps(error.validator_value)[:200]}"
    return path, f"must satisfy {rule}"


class Offers:
    """The actions of all connected runners, and of those that were connected before."""

    def __init__(self) -> None:
        self._actions: dict[str, Action] = {}
        self._sessions: dict[str, frozenset[str]] = {}

    def add(self, session: str, actions: Iterable[Action]) -> None:
        """Note what a session offers; the newest manifest of an action counts."""
        offered = [prepared(action) for action in actions]
        self._actions.update({action.name: action for action in offered})
        self._sessions[session] = frozenset(action.name for action in offered)

    def remove(self, session: str) -> None:
        """Forget a session; its actions stay known."""
        self._sessions.pop(session, None)

    def find(self, name: str) -> Action | None:
        """Return an action that is or was offered."""
        return self._actions.get(name)

    def is_idempotent(self, name: str) -> bool:
        """Whether an action may be started again although it may have had an effect."""
        action = self.find(name)
        return action is not None and action.idempotent

    def offered(self) -> list[Action]:
        """List the actions that connected runners offer, by name."""
        names = sorted(frozenset[str]().union(*self._sessions.values()))
        return [self._actions[name] for name in names]

    @property
    def any_session(self) -> bool:
        """Whether a runner is connected at all."""
        return bool(self._sessions)


def prepared(action: Action) -> Action:
    """Compile the action's parameter schema; a schema that does not compile refuses every parameter."""
    schema: Any = {"type": "object", "maxProperties": 0}
    if 0 < len(action.parameters_schema) <= MAX_SCHEMA_BYTES:
        try:
            given = json.loads(action.parameters_schema)
            Validator.check_schema(given)
            schema = given
        except (ValueError, SchemaError, RecursionError):
            pass
    validator = Validator(schema)
    return replace(action, validator=validator, needs_parameters=not validator.is_valid({}))
