"""Read certificates and keys, and make TLS credentials of them. Mutual TLS is the only kind there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from transom_wire.errors import CertificateRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where one side keeps its certificate, its key and the authority that it trusts (PEM)."""

    ca: Path
    certificate: Path
    key: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Return the bytes of authority, certificate and key.

        Raises:
            CertificateRefused: A file is missing or may not be read.
        """
        try:
            return self.ca.read_bytes(), self.certificate.read_bytes(), self.key.read_bytes()
        except OSError:
            raise CertificateRefused("a certificate or key file cannot be read; check the paths of ca, certificate and key") from None


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Make the credentials of a client or runner."""
    ca, certificate, key = files.read()
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Make the credentials of a server that demands a client certificate."""
    ca, certificate, key = files.read()
    return grpc.ssl_server_credentials([(key, certificate)], root_certificates=ca, require_client_auth=True)
