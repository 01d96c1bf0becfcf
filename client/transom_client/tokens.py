"""Keep an access token fresh: read it again, or have it renewed, before it expires."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from pathlib import Path
from typing import Final

from transom_wire.errors import TokenExpired, TokenInvalid, TokenMissing
from transom_wire.limits import MAX_TOKEN_BYTES

from transom_client.profile import Profile

FRESH_S: Final = 120.0
"""A token with less time left is replaced, where that can be done."""
RENEW_WITHIN_S: Final = 10.0


def expires_at(token: str) -> float | None:
    """Return when a token expires, in seconds since 1970; None when it does not say. Nothing is verified here."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None


class TokenSource:
    """Gives the access token of a profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._token = profile.token
        self._renewing = asyncio.Lock()

    async def token(self) -> str:
        """Return a token that is valid for a while yet, as far as this end can tell.

        Raises:
            TokenMissing: The profile gives none.
            TokenExpired: It has expired, and could not be replaced.
            TokenInvalid: The command that renews it failed.
        """
        async with self._renewing:
            if self._left_s() < FRESH_S and self._profile.token_file:
                self._token = self._read()
            if self._left_s() < FRESH_S and self._profile.renew:
                self._token = await self._renew()
        if not self._token:
            raise TokenMissing
        if self._left_s() <= 0:
            raise TokenExpired
        return self._token

    async def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that an RPC must carry."""
        return (("authorization", f"Bearer {await self.token()}"),)

    def _left_s(self) -> float:
        if not self._token:
            return 0.0
        at = expires_at(self._token)
        return FRESH_S if at is None else at - time.time()

    def _read(self) -> str:
        try:
            with Path(self._profile.token_file).open("rb") as file:
                return file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
        except OSError:
            raise TokenMissing("the profile's token file cannot be read; is `transom dev` running?") from None
        except UnicodeDecodeError:
            raise TokenInvalid from None

    async def _renew(self) -> str:
        failed = TokenInvalid("the profile's `renew` command did not print a token")
        try:
            process = await asyncio.create_subprocess_exec(
                *self._profile.renew, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
        except OSError:
            raise failed from None
        try:
            async with asyncio.timeout(RENEW_WITHIN_S):
                output, _ = await process.communicate()
        except TimeoutError:
            raise failed from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        token = output.decode("ascii", "replace").strip()
        if process.returncode or not token:
            raise failed
        return token
