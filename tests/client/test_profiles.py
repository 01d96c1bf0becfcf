"""Profiles: how they are stored, which one is used, and what is said where there is none."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path

import pytest
from transom_client import Profile
from transom_client import profile as profiles
from transom_client.profile import ProfileError


def made(endpoint: str = "localhost:7443", **more: object) -> Profile:
    return Profile(endpoint=endpoint, ca="/a/ca.pem", certificate="/a/client.pem", key="/a/client.key", **more)  # type: ignore[arg-type]


def test_a_profile_is_read_back_as_it_was_written() -> None:
    profile = made(token_file="/a/token", renew=("get", 'a "quoted" word'))
    path = profiles.save("prod", profile)
    assert profiles.load("prod") == profile
    assert profiles.names() == ["prod"]
    assert path.stat().st_mode & 0o077 == 0


def test_the_profile_that_is_asked_for_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.save("one", made("one:1"))
    profiles.save("two", made("two:2"))
    monkeypatch.setenv("TRANSOM_PROFILE", "one")
    assert profiles.select()[0] == "one"
    assert profiles.select("two")[1].endpoint == "two:2"


def test_a_live_dev_is_used_where_nothing_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        profiles.save("dev", made(f"127.0.0.1:{server.getsockname()[1]}"))
        assert profiles.select()[0] == "dev"
    with pytest.raises(ProfileError, match="does not run"):
        profiles.select()


def test_without_any_profile_the_error_says_what_to_do() -> None:
    with pytest.raises(ProfileError, match="transom dev"):
        profiles.select()


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ProfileError):
        profiles.load(name)


@pytest.mark.parametrize("text", ["endpoint = 5", "not toml", 'endpoint = "SECRET"\nunknown = 1'])
def test_a_broken_profile_is_told_without_its_values(text: str) -> None:
    path = profiles.save("broken", made())
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        profiles.load("broken")
    assert "SECRET" not in str(caught.value)


def test_a_profile_never_shows_its_token() -> None:
    assert "SECRET" not in repr(made(token="SECRET"))


def test_settings_written_as_toml_are_read_back() -> None:
    settings = {
        "text": 'a "b"\n\\c \x7f é',
        "number": 5,
        "share": 0.5,
        "flag": True,
        "list": ["a", "b"],
        "labels": {"zone": "eu", "a b": "c"},
    }
    assert tomllib.loads(profiles.toml(settings)) == settings


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for text in ("first", "second"):
        profiles.write_private(path, text)
    assert path.read_text() == "second"
    assert [one.name for one in tmp_path.iterdir() if not one.is_dir()] == ["token"]
