"""A manifest is read strictly, and a mistake is told by its key."""

from __future__ import annotations

import pytest
from transom_plugin.manifest import ManifestError, parse

PLUGIN = '[plugin]\nid = "words"\nversion = "1"\n'
ACTION = """
[[action]]
name = "words.count"
summary = "Count"
kind = "engine"
accepts = "document"
produces = "part"
persistence = "none"
"""


def test_a_manifest_with_what_is_needed_is_taken() -> None:
    manifest = parse(PLUGIN + ACTION)
    [action] = manifest.actions
    assert (manifest.plugin.id, action.name, action.side_effects, action.idempotent) == ("words", "words.count", "external", False)
    assert action.parameters_schema == '{"additionalProperties": false, "type": "object"}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[plugin", "not valid TOML"),
        (PLUGIN, "at least one"),
        (PLUGIN + ACTION + ACTION, "same name"),
        (PLUGIN + ACTION + "colour = 1\n", "unknown key action\\[0\\].colour"),
        (PLUGIN + ACTION.replace('summary = "Count"\n', ""), "summary is missing"),
        (PLUGIN + ACTION.replace('"engine"', '"motor"'), "kind must be one of engine"),
        (PLUGIN + ACTION.replace('"words.count"', '"other.count"'), "must be words.verb"),
        (PLUGIN + ACTION.replace('persistence = "none"', ""), "retention is needed"),
        (PLUGIN + ACTION + 'max_pages = "many"\n', "max_pages must be of type int"),
        (PLUGIN + ACTION + "media_types = [1]\n", "list of strings"),
        (PLUGIN + ACTION + "max_pages = true\n", "max_pages must be of type int"),
    ],
)
def test_a_mistake_is_told_by_its_key(text: str, told: str) -> None:
    with pytest.raises(ManifestError, match=told):
        parse(text)
