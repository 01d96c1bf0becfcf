"""Access tokens: read again or renewed before they expire."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path

import pytest
from transom_client import Profile
from transom_client.tokens import TokenSource, expires_at
from transom_wire.errors import TokenExpired, TokenInvalid, TokenMissing


def token(left_s: float, name: str = "a") -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + left_s, "sub": name}).encode()).rstrip(b"=")
    return f"e30.{claims.decode()}.c2ln"


def source(**settings: object) -> TokenSource:
    return TokenSource(Profile(endpoint="h:1", ca="a", certificate="b", key="c", **settings))  # type: ignore[arg-type]


def printing(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"print({text!r})")


async def test_a_token_file_is_read_again_when_the_token_nears_its_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(token(60, "old"))
    tokens = source(token_file=str(path))
    assert await tokens.token() == path.read_text()
    path.write_text(token(900, "new"))
    fresh = await tokens.token()
    assert fresh == path.read_text()
    path.write_text("not read while the token is good")
    assert await tokens.token() == fresh


async def test_a_token_is_renewed_by_the_command_of_the_profile() -> None:
    fresh = token(900)
    assert await source(token=token(10), renew=printing(fresh)).token() == fresh


async def test_a_command_that_prints_nothing_is_an_error() -> None:
    with pytest.raises(TokenInvalid):
        await source(renew=printing("")).token()


async def test_an_expired_token_is_told_before_it_is_sent() -> None:
    with pytest.raises(TokenExpired):
        await source(token=token(-1)).token()


async def test_a_profile_without_a_token_is_told() -> None:
    with pytest.raises(TokenMissing):
        await source().token()


async def test_a_token_that_says_nothing_of_its_end_is_sent_as_it_is() -> None:
    assert await source(token="opaque").metadata() == (("authorization", "Bearer opaque"),)


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "a.e30.c", "a.bnVsbA.c"])
def test_what_is_no_token_has_no_end(text: str) -> None:
    assert expires_at(text) is None
