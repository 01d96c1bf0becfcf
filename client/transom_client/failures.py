"""Turn what gRPC raises into our errors, with the words that help at this end."""

from __future__ import annotations

from typing import Final

import grpc
from transom_wire.errors import CertificateRefused, Internal, TransomError, Unavailable
from transom_wire.status import from_rpc_error

_UNTRUSTED: Final = "the server's certificate was not issued by the authority of this profile; check `ca` and `endpoint`"
_HANDSHAKE: Final = ("CERTIFICATE_VERIFY_FAILED", "handshake failed", "Hostname Verification Check failed", "Peer name")
_BROKEN: Final = "Internal error from Core"
"""What gRPC says where a connection breaks amid a write, or while a call is begun; with INTERNAL, as if the server had failed."""


def error_of(error: grpc.aio.AioRpcError) -> TransomError:
    """Turn an error of an RPC into one of ours; a failed TLS handshake is told apart from a server that is away."""
    ours = from_rpc_error(error)
    details = error.details() or ""
    if type(ours) is Internal and details.startswith(_BROKEN):
        return Unavailable()
    if type(ours) is Unavailable and any(mark in details for mark in _HANDSHAKE):
        return CertificateRefused(_UNTRUSTED)
    return ours
