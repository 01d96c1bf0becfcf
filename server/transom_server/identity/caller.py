"""Know who is at the other end of a call."""

from __future__ import annotations

import hashlib
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache

from transom_wire.errors import CertificateRefused

MAX_NAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of the connection, as its certificate names it."""

    kind: str
    """`caller` or `runner`."""
    name: str
    thumbprint: str
    """SHA-256 of the certificate, base64url without padding (RFC 8705's `x5t#S256`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a call, after all checks."""

    peer: Peer
    subject: str
    tenant: str
    roles: frozenset[int]
    expires_at: float
    """When the token expires, in seconds since 1970."""


PEER: ContextVar[Peer] = ContextVar("transom.peer")
"""The peer of the RPC that this task serves; set by the identity interceptor."""

CURRENT: ContextVar[Caller] = ContextVar("transom.caller")
"""The caller of the RPC that this task serves; set by the identity interceptor."""


def peer_of(context: Mapping[str, Iterable[bytes]], trust_domain: str) -> Peer:
    """Read the peer from gRPC's auth context.

    Raises:
        CertificateRefused: The certificate names no caller or runner of this trust domain.
    """
    ids = list(context.get("peer_spiffe_id", ()))
    certificates = list(context.get("x509_pem_cert", ()))
    if len(ids) != 1 or len(certificates) != 1:
        raise CertificateRefused
    return _peer(ids[0], certificates[0], trust_domain)


@lru_cache(maxsize=4096)
def _peer(spiffe_id: bytes, certificate: bytes, trust_domain: str) -> Peer:
    prefix = f"spiffe://{trust_domain}/"
    path = spiffe_id.decode("ascii", "replace")
    kind, _, name = path.removeprefix(prefix).partition("/")
    if not path.startswith(prefix) or kind not in {"caller", "runner"} or not name or len(name) > MAX_NAME:
        raise CertificateRefused
    return Peer(kind=kind, name=name, thumbprint=thumbprint(certificate))


def thumbprint(certificate: bytes) -> str:
    """Return the `x5t#S256` of a PEM certificate."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode("ascii"))).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
