"""How the tests of the client reach the test's server."""

from __future__ import annotations

from server.site import Site
from transom_client import Profile


def profile_of(site: Site, token: str | None = None, *, port: int = 0) -> Profile:
    files = site.tls("client")
    return Profile(
        endpoint=f"localhost:{port or site.port}",
        ca=str(files.ca),
        certificate=str(files.certificate),
        key=str(files.key),
        token=site.token() if token is None else token,
    )
