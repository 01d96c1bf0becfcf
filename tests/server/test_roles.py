"""Every method against every kind of identity: the policy option alone decides, and what declares none is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from transom.identity.v1 import policy_pb2
from transom_server.identity.caller import thumbprint
from transom_server.identity.policy import FOREIGN
from transom_server.listener import SERVICES
from transom_wire.status import from_rpc_error

from server.world import World

ROLES = {"viewer": policy_pb2.ROLE_VIEWER, "caller": policy_pb2.ROLE_CALLER, "operator": policy_pb2.ROLE_OPERATOR, "unknown": -1}
REFUSED = {"ROLE_MISSING", "CERTIFICATE_REFUSED", "TOKEN_MISSING", "TOKEN_INVALID", "UNAUTHENTICATED"}
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}


def policy_of(method: MethodDescriptor) -> policy_pb2.Policy:
    declared: policy_pb2.Policy = method.GetOptions().Extensions[policy_pb2.policy]
    return declared


def cases() -> Iterator[Any]:
    for name, method in METHODS.items():
        declared = policy_of(method)
        for role, number in ROLES.items():
            expected = None if number in declared.roles else "ROLE_MISSING"
            if declared.peer == policy_pb2.PEER_KIND_RUNNER:
                expected = "CERTIFICATE_REFUSED"
            yield pytest.param(name, "client", role, expected, id=f"{method.name}-{role}")
        yield pytest.param(
            name, "client", None, "CERTIFICATE_REFUSED" if not declared.roles else "TOKEN_MISSING", id=f"{method.name}-nothing"
        )
        yield pytest.param(name, "runner", "caller", "CERTIFICATE_REFUSED" if declared.roles else None, id=f"{method.name}-runner")
    operators_only = [name for name in FOREIGN if "channelz" in name]
    everyone = [name for name in FOREIGN if "reflection" in name]
    anything = [name for name in FOREIGN if "health" in name]
    assert len(operators_only) + len(everyone) + len(anything) == len(FOREIGN)
    for role in ROLES:
        for name in operators_only:
            yield pytest.param(name, "client", role, None if role == "operator" else "ROLE_MISSING", id=f"{name}-{role}")
        for name in everyone:
            yield pytest.param(name, "client", role, None if role != "unknown" else "ROLE_MISSING", id=f"{name}-{role}")
    for name in (*operators_only, *everyone):
        yield pytest.param(name, "client", None, "TOKEN_MISSING", id=f"{name}-nothing")
        yield pytest.param(name, "runner", "operator", "CERTIFICATE_REFUSED", id=f"{name}-runner")
    for name in anything:
        yield pytest.param(name, "client", None, None, id=f"{name}-nothing")
        yield pytest.param(name, "runner", None, None, id=f"{name}-runner")


async def nothing() -> AsyncIterator[bytes]:
    """Say nothing, and half-close."""
    for _ in ():
        yield b""


async def reason(world: World, method: str, who: str, role: str | None) -> str:
    """Call a method with an empty request; returns the reason of the refusal, empty when it was let in."""
    bound = thumbprint((world.state / f"{who}.pem").read_bytes())
    metadata = world.metadata(role, thumbprint=bound) if role is not None else ()
    known = METHODS.get(method)
    streaming = known.client_streaming if known is not None else "reflection" in method
    channel = world.channel(who)
    call: Any = (
        channel.stream_stream(method)(nothing(), metadata=metadata) if streaming else channel.unary_stream(method)(b"", metadata=metadata)
    )
    try:
        # What is let in may wait for something to say.
        async with asyncio.timeout(0.5):
            await call.read()
    except TimeoutError:
        return ""
    except grpc.aio.AioRpcError as error:
        return "UNIMPLEMENTED" if error.code() is grpc.StatusCode.UNIMPLEMENTED else from_rpc_error(error).reason
    finally:
        call.cancel()
    return ""


async def test_each_method_admits_exactly_whom_its_policy_names(world: World) -> None:
    wrong: list[str] = []
    for case in cases():
        method, who, role, expected = case.values
        found = await reason(world, str(method), str(who), role)
        if found != expected if expected is not None else found in REFUSED:
            wrong.append(f"{case.id}: {found or 'let in'}, expected {expected or 'let in'}")
    assert wrong == []


def test_the_matrix_covers_every_method_and_role() -> None:
    assert len(METHODS) == 17
    assert {number for number in policy_pb2.Role.values() if number} == {number for number in ROLES.values() if number > 0}


async def test_a_method_without_a_policy_is_refused_though_it_is_served(world_with_a_secret_method: World) -> None:
    world = world_with_a_secret_method
    for role in (None, *ROLES):
        assert await reason(world, "/test.v1.Secret/Tell", "client", role) == "ROLE_MISSING"
    assert await reason(world, "/test.v1.Secret/Tell", "runner", None) == "ROLE_MISSING"


async def test_a_method_that_does_not_exist_is_unimplemented(world: World) -> None:
    assert await reason(world, "/transom.runs.v1.RunService/Nothing", "client", "caller") == "UNIMPLEMENTED"


@pytest.fixture
async def world_with_a_secret_method(tmp_path: Any) -> Any:
    async def tell(request: bytes, context: Any) -> bytes:
        return b"the secret"

    world = World(tmp_path / "state")
    handler = grpc.method_handlers_generic_handler("test.v1.Secret", {"Tell": grpc.unary_unary_rpc_method_handler(tell)})
    world.app.listener._server.add_generic_rpc_handlers((handler,))
    async with world:
        yield world
