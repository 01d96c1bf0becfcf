"""Issue and verify access tokens: JWTs signed with EdDSA, bound to a client certificate.

The verifier is the only place that decodes a token.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from transom.identity.v1 import policy_pb2
from transom_wire.errors import TokenExpired, TokenInvalid
from transom_wire.limits import MAX_TOKEN_BYTES

from transom_server.identity.caller import Caller, Peer

AUDIENCE: Final = "transom"
TYPE: Final = "at+jwt"
LIFETIME_S: Final = 15 * 60
LEEWAY_S: Final = 30
CACHED: Final = 4096
REQUIRED: Final = ("exp", "iat", "nbf", "aud", "iss", "sub", "jti", "tid", "roles")

ROLES: Final = {name.removeprefix("ROLE_").lower(): number for name, number in policy_pb2.Role.items() if number}
"""Role numbers by the names that tokens carry."""


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read the signing key.

    Raises:
        TokenInvalid: The file holds no Ed25519 key.
    """
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TokenInvalid("the token key is not an Ed25519 key")
    return key


class TokenIssuer:
    """Sign access tokens of a trust domain."""

    def __init__(self, key: Ed25519PrivateKey, trust_domain: str) -> None:
        self._key = key
        self._issuer = f"spiffe://{trust_domain}/server"

    def issue(
        self, subject: str, roles: Iterable[str], *, tenant: str = "default", thumbprint: str | None = None, lifetime_s: int = LIFETIME_S
    ) -> str:
        """Return a token for `subject`; with `thumbprint` it is worth nothing without that client certificate."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self._issuer, "aud": AUDIENCE, "sub": subject, "tid": tenant, "roles": sorted(roles),
            "iat": now, "nbf": now, "exp": now + lifetime_s, "jti": secrets.token_hex(16),
        }  # fmt: skip
        if thumbprint is not None:
            claims["cnf"] = {"x5t#S256": thumbprint}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": TYPE})


class TokenVerifier:
    """Verify access tokens, each once: what is found is remembered by the token's hash until it expires."""

    def __init__(self, key: Ed25519PublicKey, trust_domain: str) -> None:
        # One algorithm for one key object: with a list of algorithms a token forged from public bytes passed.
        self._key = key
        self._issuer = f"spiffe://{trust_domain}/server"
        self._seen: OrderedDict[bytes, Caller] = OrderedDict()

    def verify(self, token: str, peer: Peer) -> Caller:
        """Return the caller that a token and a certificate name together.

        Raises:
            TokenInvalid: The token is not ours, not whole, or bound to another certificate.
            TokenExpired: Its time is over.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenInvalid
        key = hashlib.sha256(f"{peer.thumbprint} {token}".encode("utf-8", "replace")).digest()
        if (known := self._seen.get(key)) is not None:
            if time.time() < known.expires_at + LEEWAY_S:
                return known
            del self._seen[key]
        caller = self._decode(token, peer)
        self._seen[key] = caller
        if len(self._seen) > CACHED:
            self._seen.popitem(last=False)
        return caller

    def _decode(self, token: str, peer: Peer) -> Caller:
        try:
            decoded = jwt.decode_complete(
                token, self._key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=self._issuer, leeway=LEEWAY_S,
                options={"require": list(REQUIRED), "strict_aud": True},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except (jwt.PyJWTError, ValueError):
            raise TokenInvalid from None
        claims: dict[str, Any] = decoded["payload"]
        bound = claims.get("cnf")
        if decoded["header"].get("typ") != TYPE or (bound is not None and bound != {"x5t#S256": peer.thumbprint}):
            raise TokenInvalid
        return _caller(claims, peer)


def _caller(claims: dict[str, Any], peer: Peer) -> Caller:
    subject, tenant, roles = claims["sub"], claims["tid"], claims["roles"]
    if not isinstance(tenant, str) or not isinstance(subject, str) or not isinstance(roles, list):
        raise TokenInvalid
    known = frozenset(ROLES[role] for role in roles if isinstance(role, str) and role in ROLES)
    return Caller(peer=peer, subject=subject, tenant=tenant, roles=known, expires_at=float(claims["exp"]))
