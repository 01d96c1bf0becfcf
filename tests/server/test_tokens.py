"""Access tokens: what is accepted, and every way in which one is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from transom.runs.v1 import run_service_pb2
from transom_server.identity.caller import Peer, thumbprint
from transom_server.identity.tokens import LEEWAY_S, TokenIssuer, TokenVerifier, load_key
from transom_wire.errors import TokenExpired, TokenInvalid
from transom_wire.limits import MAX_TOKEN_BYTES
from transom_wire.status import from_rpc_error

from server.site import WITHIN_S
from server.world import World

DEMANDED = ("exp", "iat", "nbf", "aud", "iss", "sub", "jti", "tid", "roles")
ISSUER = "spiffe://transom.internal/server"


def claims(world: World, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    bound = thumbprint((world.state / "client.pem").read_bytes())
    given = {
        "iss": ISSUER, "aud": "transom", "sub": "tester", "tid": "default", "roles": ["viewer"], "iat": now, "nbf": now, "exp": now + 60,
        "jti": "1", "cnf": {"x5t#S256": bound},
    }  # fmt: skip
    given.update(changes)
    return {name: value for name, value in given.items() if value is not ...}


def signed(world: World, *, typ: str = "at+jwt", **changes: Any) -> str:
    return jwt.encode(claims(world, **changes), load_key(world.state / "token.key"), algorithm="EdDSA", headers={"typ": typ})


async def answer(world: World, authorization: str | None) -> str:
    """Call a method with this authorization; returns OK or the reason of the refusal."""
    metadata = (("authorization", authorization),) if authorization is not None else ()
    call: Any = world.runs().List(run_service_pb2.ListRequest(), metadata=metadata, timeout=WITHIN_S)
    if await call.code() is grpc.StatusCode.OK:
        return "OK"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert authorization is None or len(authorization) < 20 or authorization[10:] not in str(caught.value)
    return from_rpc_error(caught.value).reason


def encoded(*parts: dict[str, Any]) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)


def without_signature(world: World) -> str:
    return encoded({"alg": "none", "typ": "at+jwt"}, claims(world)) + "."


def with_public_key_as_secret(world: World) -> str:
    """Forge an HS256 token whose secret is the public key, in each form in which one can have it."""
    text = encoded({"alg": "HS256", "typ": "at+jwt"}, claims(world))
    raw = load_key(world.state / "token.key").public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = hmac.new(raw, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def with_public_pem_as_secret(world: World) -> str:
    text = encoded({"alg": "HS256", "typ": "at+jwt"}, claims(world))
    pem = load_key(world.state / "token.key").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = hmac.new(pem, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def by_another_key(world: World) -> str:
    return jwt.encode(claims(world), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"typ": "at+jwt"})


def tampered(world: World) -> str:
    head, _, signature = signed(world).split(".")
    return f"{head}.{encoded(claims(world, roles=['operator']))}.{signature}"


FORGED: dict[str, Callable[[World], str]] = {
    "another audience": lambda world: signed(world, aud="other"),
    "a list of audiences": lambda world: signed(world, aud=["transom", "other"]),
    "another issuer": lambda world: signed(world, iss="spiffe://other.internal/server"),
    "a foreign type": lambda world: signed(world, typ="JWT"),
    "a licence's type": lambda world: signed(world, typ="licence+jwt"),
    "another certificate": lambda world: signed(world, cnf={"x5t#S256": "A" * 43}),
    "an unknown binding": lambda world: signed(world, cnf={"jkt": "A" * 43}),
    "not yet valid": lambda world: signed(world, nbf=int(time.time()) + 3600),
    "another key": by_another_key,
    "no algorithm": without_signature,
    "HS256 with the raw public key": with_public_key_as_secret,
    "HS256 with the public PEM": with_public_pem_as_secret,
    "changed claims": tampered,
    "too large": lambda world: signed(world, sub="x" * MAX_TOKEN_BYTES),
    "no token at all": lambda _: "garbage",
    "an empty token": lambda _: "a.b.c",
    "roles that are no list": lambda world: signed(world, roles="viewer"),
    "a tenant that is no text": lambda world: signed(world, tid=7),
    **{f"no {name}": lambda world, name=name: signed(world, **{name: ...}) for name in DEMANDED},
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_a_token_that_is_not_ours_is_refused(world: World, forge: Callable[[World], str]) -> None:
    assert await answer(world, f"Bearer {forge(world)}") == "TOKEN_INVALID"
    assert await answer(world, f"Bearer {signed(world)}") == "OK"


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic dGVzdDp0ZXN0", "Token abc"])
async def test_without_a_token_nothing_is_served(world: World, authorization: str | None) -> None:
    assert await answer(world, authorization) == "TOKEN_MISSING"


async def test_an_expired_token_is_refused_as_such(world: World) -> None:
    past = int(time.time()) - LEEWAY_S - 5
    assert await answer(world, f"Bearer {signed(world, exp=past, iat=past - 60, nbf=past - 60)}") == "TOKEN_EXPIRED"


async def test_a_token_that_was_remembered_expires_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Valid for a moment yet, by the leeway.
    token = signed(world, exp=int(time.time()) - LEEWAY_S + 5)
    peer = Peer(kind="caller", name="local", thumbprint=thumbprint((world.state / "client.pem").read_bytes()))
    verifier = TokenVerifier(load_key(world.state / "token.key").public_key(), "transom.internal")
    caller = verifier.verify(token, peer)
    assert verifier.verify(token, peer) is caller
    later = time.time() + 10
    monkeypatch.setattr("transom_server.identity.tokens.time.time", lambda: later)
    # Asked anew, once it is not remembered any more.
    assert verifier.verify(token, peer) is not caller


def test_a_remembered_token_is_bound_to_its_certificate(tmp_path: Any) -> None:
    key = Ed25519PrivateKey.generate()
    verifier = TokenVerifier(key.public_key(), "transom.internal")
    token = TokenIssuer(key, "transom.internal").issue("tester", ["viewer"], thumbprint="mine")
    assert verifier.verify(token, Peer(kind="caller", name="a", thumbprint="mine")).subject == "tester"
    with pytest.raises(TokenInvalid):
        verifier.verify(token, Peer(kind="caller", name="a", thumbprint="theirs"))


def test_an_unknown_role_grants_nothing() -> None:
    key = Ed25519PrivateKey.generate()
    token = TokenIssuer(key, "transom.internal").issue("tester", ["emperor"])
    caller = TokenVerifier(key.public_key(), "transom.internal").verify(token, Peer(kind="caller", name="a", thumbprint=""))
    assert caller.roles == frozenset()


def test_the_memory_of_tokens_is_bounded() -> None:
    key = Ed25519PrivateKey.generate()
    issuer, verifier = TokenIssuer(key, "transom.internal"), TokenVerifier(key.public_key(), "transom.internal")
    peer = Peer(kind="caller", name="a", thumbprint="")
    tokens = [issuer.issue(f"tester {number}", ["viewer"]) for number in range(4100)]
    for token in tokens:
        verifier.verify(token, peer)
    assert len(verifier._seen) <= 4096
    with pytest.raises(TokenExpired):
        verifier.verify(issuer.issue("tester", ["viewer"], lifetime_s=-LEEWAY_S - 1), peer)
