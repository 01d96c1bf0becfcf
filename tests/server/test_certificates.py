"""Who may connect: mutual TLS, and what a certificate of each kind opens."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import runner_service_pb2_grpc, session_pb2
from transom.runs.v1 import run_service_pb2, run_service_pb2_grpc
from transom_server.identity.authority import Authority, initialise
from transom_server.identity.caller import thumbprint
from transom_wire.channel import client_options
from transom_wire.credentials import TlsFiles
from transom_wire.status import from_rpc_error

from server.site import WITHIN_S
from server.world import World


async def listing(world: World, channel: grpc.aio.Channel, **claims: Any) -> Any:
    stub = run_service_pb2_grpc.RunServiceStub(channel)
    return await stub.List(run_service_pb2.ListRequest(), metadata=world.metadata(**claims), timeout=WITHIN_S)


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def reason(call: Any) -> str:
    return from_rpc_error(await refusal(call)).reason


async def test_without_a_client_certificate_there_is_no_connection(world: World) -> None:
    credentials = grpc.ssl_channel_credentials(root_certificates=(world.state / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{world.port}", credentials, options=client_options()) as channel:
        error = await refusal(listing(world, channel))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_tls_there_is_no_connection(world: World) -> None:
    async with grpc.aio.insecure_channel(f"localhost:{world.port}", options=client_options()) as channel:
        error = await refusal(listing(world, channel))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_authority_opens_no_connection(world: World, tmp_path: Path) -> None:
    initialise(tmp_path / "other", "transom.internal")
    foreign = TlsFiles(ca=world.state / "ca.pem", certificate=tmp_path / "other/client.pem", key=tmp_path / "other/client.key")
    error = await refusal(listing(world, world.channel(tls=foreign)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert (await listing(world, world.channel())).runs == []


async def test_a_client_does_not_talk_to_a_server_of_another_authority(world: World, tmp_path: Path) -> None:
    initialise(tmp_path / "other", "transom.internal")
    wary = TlsFiles(ca=tmp_path / "other/ca.pem", certificate=world.state / "client.pem", key=world.state / "client.key")
    assert (await refusal(listing(world, world.channel(tls=wary)))).code() is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_certificate_opens_no_connection(world: World) -> None:
    authority = authority_of(world)
    key = ec.generate_private_key(ec.SECP256R1())
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")]))
    builder = builder.issuer_name(authority.certificate.subject).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(long_ago).not_valid_after(long_ago + dt.timedelta(days=1))
    spiffe = x509.UniformResourceIdentifier("spiffe://transom.internal/caller/local")
    certificate = builder.add_extension(x509.SubjectAlternativeName([spiffe]), critical=False).sign(authority.key, hashes.SHA256())
    (world.state / "old.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (world.state / "old.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    assert (await refusal(listing(world, world.channel("old")))).code() is grpc.StatusCode.UNAVAILABLE


def authority_of(world: World) -> Authority:
    key = load_pem_private_key((world.state / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((world.state / "ca.pem").read_bytes())
    return Authority(trust_domain="transom.internal", key=key, certificate=certificate)


@pytest.mark.parametrize("path", ["server", "caller", "caller/", "operator/x", "runner-up/x"])
async def test_a_certificate_that_names_neither_caller_nor_runner_opens_nothing(world: World, path: str) -> None:
    channel = world.channel(world.issue("odd", path))
    bound = thumbprint((world.state / "odd.pem").read_bytes())
    assert await reason(listing(world, channel, thumbprint=bound)) == "CERTIFICATE_REFUSED"


async def test_a_certificate_of_another_trust_domain_opens_nothing(world: World) -> None:
    ours = authority_of(world)
    strange = Authority(trust_domain="elsewhere.internal", key=ours.key, certificate=ours.certificate)
    for suffix, content in zip(("pem", "key"), strange.issue("caller/local"), strict=True):
        (world.state / f"strange.{suffix}").write_bytes(content)
    assert await reason(listing(world, world.channel("strange"), thumbprint=None)) == "CERTIFICATE_REFUSED"


async def test_a_runner_s_certificate_does_not_open_the_callers_services(world: World) -> None:
    channel = world.channel("runner")
    bound = thumbprint((world.state / "runner.pem").read_bytes())
    assert await reason(listing(world, channel, thumbprint=bound)) == "CERTIFICATE_REFUSED"
    stub: Any = run_service_pb2_grpc.RunServiceStub(channel)
    call = stub.Process(metadata=world.metadata(thumbprint=bound))
    assert await reason(call.read()) == "CERTIFICATE_REFUSED"


async def test_a_caller_s_certificate_does_not_open_the_runners_service(world: World) -> None:
    stub: Any = runner_service_pb2_grpc.RunnerServiceStub(world.channel())
    fence = session_pb2.Fence(run="a", attempt=1, token=1)
    for call in (
        stub.Session(metadata=world.metadata()),
        stub.FetchDocument(wire.FetchDocumentRequest(fence=fence), metadata=world.metadata()),
        stub.PushResult(metadata=world.metadata()),
    ):
        assert await reason(call.read()) == "CERTIFICATE_REFUSED"


async def test_private_files_are_for_their_owner_only(world: World) -> None:
    assert world.state.stat().st_mode & 0o777 == 0o700
    for path in world.state.iterdir():
        if path.suffix in {".key", ".pem", ".db"}:
            assert path.stat().st_mode & 0o077 == 0, path.suffix


def test_a_trust_domain_is_never_made_twice(tmp_path: Path) -> None:
    initialise(tmp_path / "state", "transom.internal")
    before = (tmp_path / "state" / "ca.key").read_bytes()
    with pytest.raises(FileExistsError):
        initialise(tmp_path / "state", "transom.internal")
    assert (tmp_path / "state" / "ca.key").read_bytes() == before
