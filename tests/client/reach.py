"""How the tests of the client reach the test's server."""

from __future__ import annotations

from server.world import World
from transom_client import Profile


def profile_of(world: World, token: str | None = None) -> Profile:
    files = world.tls("client")
    return Profile(
        endpoint=f"localhost:{world.app.port}",
        ca=str(files.ca),
        certificate=str(files.certificate),
        key=str(files.key),
        token=world.token() if token is None else token,
    )
