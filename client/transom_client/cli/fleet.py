"""`transom runners`, `transom queue` and `transom actions`: what is there to work with, and what waits for it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import click

from transom_client.cli.opening import profile_option, with_client
from transom_client.cli.output import JSON, TABLE, clean, emit_columns, emit_json, moment, output_option
from transom_client.cli.shapes import action_shape, queue_shape, runner_shape
from transom_client.client import Client
from transom_client.records import Action, Runner


@click.group()
def runners() -> None:
    """See which runners there are, and keep work from them."""


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


def _told(change: Callable[[Client, str], Awaitable[Runner]], runner: str) -> None:
    """Change a runner that is named by its id, or by its host where that is clear, and say how it stands."""

    async def work(client: Client) -> Runner:
        known = await client.runners()
        hosts = [one.name for one in known if one.hostname == runner]
        return await change(client, hosts[0] if len(hosts) == 1 else runner)

    after = with_client(work)
    click.echo(f"the runner is {after.status.name} now")


@runners.command("cordon")
@click.argument("runner", metavar="RUNNER")
@profile_option
def cordon_runner(runner: str) -> None:
    """Give a runner nothing new until the cordon is lifted."""
    _told(Client.cordon, runner)


@runners.command("uncordon")
@click.argument("runner", metavar="RUNNER")
@profile_option
def uncordon_runner(runner: str) -> None:
    """Lift a runner's cordon."""
    _told(Client.uncordon, runner)


@runners.command("drain")
@click.argument("runner", metavar="RUNNER")
@profile_option
def drain_runner(runner: str) -> None:
    """Let a runner finish what it has, and give it nothing new while it stays connected."""
    _told(Client.drain, runner)


@runners.command("labels")
@output_option(TABLE, JSON)
@profile_option
def list_labels(output: str) -> None:
    """List the labels of every runner, by which runs can ask for it."""
    found = with_client(Client.runners)
    if output == JSON:
        for runner in found:
            emit_json({"name": runner.name, "labels": dict(runner.labels)})
        return
    rows = [(one.name.removeprefix("runners/"), one.hostname, key, value) for one in found for key, value in sorted(one.labels.items())]
    emit_columns(("runner", "hostname", "label", "value"), rows)


@click.command()
@output_option(TABLE, JSON)
@profile_option
def queue(output: str) -> None:
    """List what waits for runners: how many runs of each action, and how long the oldest has waited."""
    found = with_client(Client.queue)
    if output == JSON:
        for row in found:
            emit_json(queue_shape(row))
        return
    emit_columns(
        ("action", "tenant", "waiting", "oldest"), [(one.action, one.tenant, str(one.depth), f"{one.oldest_age_s:.1f} s") for one in found]
    )  # fmt: skip


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
