"""Nothing lies in the repository that must not be handed on: no key, no place on somebody's machine."""

from __future__ import annotations

import pytest

from contract.test_shape import ROOT, tracked

# In pieces, since this file is looked at too.
PLACES = ("/ro" + "ot/", "/wo" + "rk/", "/Us" + "ers/")
BEGIN = "-----BEGIN" + " "


def holding(content: bytes, *texts: str) -> list[str]:
    return [text for text in texts if text.encode() in content]


def test_no_file_names_a_place_on_somebody_s_machine() -> None:
    assert [str(path.relative_to(ROOT)) for path in tracked() if holding(path.read_bytes(), *PLACES)] == []


def test_no_file_holds_a_key_or_a_certificate() -> None:
    assert [str(path.relative_to(ROOT)) for path in tracked() if holding(path.read_bytes(), BEGIN)] == []


@pytest.mark.parametrize("text", [*PLACES, BEGIN])
def test_what_is_looked_for_is_found(text: str) -> None:
    assert holding(f"before {text}after".encode(), *PLACES, BEGIN) == [text]
