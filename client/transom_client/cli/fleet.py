"""`transom runners` and `transom actions`: what is there to work with."""

from __future__ import annotations

import json

import click

from transom_client.cli.opening import profile_option, with_client
from transom_client.cli.output import JSON, TABLE, clean, emit_columns, emit_json, moment, output_option
from transom_client.cli.shapes import action_shape, runner_shape
from transom_client.client import Client
from transom_client.records import Action


@click.group()
def runners() -> None:
    """See which runners there are."""


@runners.command("list")
@output_option(TABLE, JSON)
@profile_option
def list_runners(output: str) -> None:
    """List runners, also those that are not connected now."""
    found = with_client(Client.runners)
    if output == JSON:
        for runner in found:
            emit_json(runner_shape(runner))
        return
    rows = [
        (one.hostname, one.status.name, one.pool, ",".join(one.actions) or "-", one.containment.name, moment(one.last_seen_at))
        for one in found
    ]
    emit_columns(("hostname", "status", "pool", "actions", "containment", "last seen"), rows)


@click.group()
def actions() -> None:
    """See which actions runners offer."""


@actions.command("list")
@output_option(TABLE, JSON)
@profile_option
def list_actions(output: str) -> None:
    """List the actions that connected runners offer."""
    found = with_client(Client.actions)
    if output == JSON:
        for action in found:
            emit_json(action_shape(action))
        return
    rows = [(one.name, one.kind.name, f"{one.plugin} {one.version}", one.persistence.name, one.summary) for one in found]
    emit_columns(("action", "kind", "plugin", "persistence", "summary"), rows)


@actions.command("describe")
@click.argument("name", metavar="ACTION")
@output_option(TABLE, JSON)
@profile_option
def describe_action(name: str, output: str) -> None:
    """Describe one action and its parameters."""
    action = with_client(lambda client: client.action(name))
    if output == JSON:
        emit_json(action_shape(action))
        return
    for line in _description(action):
        click.echo(clean(line))


def _description(action: Action) -> list[str]:
    lines = [
        f"{action.name}: {action.summary}",
        f"kind: {action.kind.name}",
        f"plugin: {action.plugin} {action.version}",
        f"media types: {', '.join(action.media_types) or 'any'}",
        f"idempotent: {'yes' if action.idempotent else 'no'}",
        f"hosts it may reach: {', '.join(action.hosts) or 'none'}",
        f"kept by a provider: {action.persistence.name}",
    ]
    if action.max_bytes:
        lines.append(f"largest document: {action.max_bytes} bytes")
    if action.max_pages:
        lines.append(f"most pages: {action.max_pages}")
    schema = json.loads(action.parameters_schema or "{}")
    properties = schema.get("properties", {})
    lines.append("parameters:" if properties else "parameters: none")
    for name, rule in properties.items():
        required = " (required)" if name in schema.get("required", ()) else ""
        lines.append(f"  {name}{required}: {_rule(rule)}")
    return lines


def _rule(rule: dict[str, object]) -> str:
    words = [str(rule["type"])] if "type" in rule else []
    if isinstance(choices := rule.get("enum"), list):
        words.append(" | ".join(map(str, choices)))
    words += [f"{key} {rule[key]}" for key in ("minimum", "maximum", "default") if key in rule]
    text = ", ".join(words)
    return f"{text}. {rule['description']}" if "description" in rule else text
