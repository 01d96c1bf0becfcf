"""Prove who this runner is: its certificate, and the authority it trusts."""

from __future__ import annotations

from pathlib import Path

import grpc
from transom_wire.credentials import TlsFiles, channel_credentials

from transom_runner.config import Config


def credentials(config: Config) -> grpc.ChannelCredentials:
    """Read the certificate files anew, so that a renewed certificate is used by the next connection.

    Raises:
        CertificateRefused: A file cannot be read.
    """
    return channel_credentials(TlsFiles(ca=Path(config.ca), certificate=Path(config.certificate), key=Path(config.key)))
