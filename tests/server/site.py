"""One trust domain and one server in it, wherever that server runs, and the ways to reach it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.protobuf.struct_pb2 import Struct
from transom.runs.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc
from transom_server.identity.authority import Authority, initialise
from transom_server.identity.caller import thumbprint
from transom_server.identity.tokens import TokenIssuer, load_key
from transom_wire.channel import client_options
from transom_wire.credentials import TlsFiles, channel_credentials

WITHIN_S = 10.0


async def rest_of(call: Any) -> None:
    """Read whatever is left of a stream; raises what the stream ended with."""
    async with asyncio.timeout(WITHIN_S):
        while await call.read() is not grpc.aio.EOF:
            pass


TRUST_DOMAIN = "transom.internal"


class Site:
    """A state folder and a port: everything that a client needs to know of a server."""

    def __init__(self, state: Path, port: int = 0) -> None:
        self.state = state
        self._port = port
        if not (state / "ca.pem").exists():
            initialise(state, TRUST_DOMAIN)
        self._channels: list[grpc.aio.Channel] = []

    @property
    def port(self) -> int:
        return self._port

    def found_at(self, port: int) -> None:
        self._port = port

    async def close_channels(self) -> None:
        for channel in self._channels:
            await channel.close()

    def tls(self, who: str) -> TlsFiles:
        return TlsFiles(ca=self.state / "ca.pem", certificate=self.state / f"{who}.pem", key=self.state / f"{who}.key")

    def issue(self, who: str, path: str) -> str:
        """Issue one more certificate, as the files `who.pem` and `who.key`."""
        key = load_pem_private_key((self.state / "ca.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        certificate = x509.load_pem_x509_certificate((self.state / "ca.pem").read_bytes())
        authority = Authority(trust_domain=TRUST_DOMAIN, key=key, certificate=certificate)
        for suffix, content in zip(("pem", "key"), authority.issue(path), strict=True):
            (self.state / f"{who}.{suffix}").write_bytes(content)
        return who

    def channel(self, who: str = "client", tls: TlsFiles | None = None) -> grpc.aio.Channel:
        channel = grpc.aio.secure_channel(f"localhost:{self.port}", channel_credentials(tls or self.tls(who)), options=client_options())
        self._channels.append(channel)
        return channel

    def token(self, *roles: str, subject: str = "tester", **claims: Any) -> str:
        issuer = TokenIssuer(load_key(self.state / "token.key"), TRUST_DOMAIN)
        claims.setdefault("thumbprint", thumbprint((self.state / "client.pem").read_bytes()))
        return issuer.issue(subject, roles or ("caller", "operator", "viewer"), **claims)

    def metadata(self, *roles: str, **claims: Any) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token(*roles, **claims)}"),)

    def runs(self) -> run_service_pb2_grpc.RunServiceAsyncStub:
        return run_service_pb2_grpc.RunServiceStub(self.channel())

    async def inline(self, *documents: bytes, action: str = "test.echo", media_type: str = "text/plain", **more: Any) -> Any:
        request = run_service_pb2.ProcessInlineRequest(
            target=run_pb2.Target(action=action),
            documents=[run_service_pb2.InlineDocument(media_type=media_type, data=data) for data in documents],
        )
        if "parameters" in more:
            request.parameters.CopyFrom(Struct())
            request.parameters.update(more.pop("parameters"))
        if "settings" in more:
            request.settings.CopyFrom(more.pop("settings"))
        return await self.runs().ProcessInline(request, metadata=self.metadata(**more), timeout=WITHIN_S)
