"""What gRPC's own tools and operators find on the ports: health, reflection, channelz, /healthz and /metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from transom_server.listener import SERVICES, PortTaken

from server.site import WITHIN_S
from server.world import World, hang

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def http(world: World, path: str) -> tuple[int, str]:
    async with asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.app.http.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("who", ["client", "runner"])
async def test_health_needs_a_certificate_but_no_token(world: World, who: str) -> None:
    stub: Any = health_pb2_grpc.HealthStub(world.channel(who))
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=WITHIN_S)
    assert answer.status == SERVING


async def test_health_turns_when_the_server_drains(world: World) -> None:
    stub: Any = health_pb2_grpc.HealthStub(world.channel())
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=WITHIN_S)
    assert (await watch.read()).status == SERVING
    await world.app.drain()
    assert (await watch.read()).status == NOT_SERVING
    assert await http(world, "/healthz") == (503, "draining\n")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_every_service(world: World, version: str) -> None:
    call: Any = world.channel().stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(metadata=world.metadata("viewer"), timeout=WITHIN_S)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in (await call.read()).list_services_response.service}
    ours = {service.full_name for service in SERVICES}
    assert ours <= names
    assert {"grpc.health.v1.Health", "grpc.channelz.v1.Channelz", "grpc.reflection.v1.ServerReflection"} <= names
    for name in sorted(ours):
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
        assert (await call.read()).file_descriptor_response.file_descriptor_proto
    call.cancel()


async def test_channelz_tells_operators_what_is_connected(world: World) -> None:
    stub: Any = channelz_pb2_grpc.ChannelzStub(world.channel())
    answer = await stub.GetServers(channelz_pb2.GetServersRequest(), metadata=world.metadata("operator"), timeout=WITHIN_S)
    assert answer.server


async def test_the_http_port_is_on_loopback_and_answers(world: World) -> None:
    assert world.app.http._socket.getsockname()[0] == "127.0.0.1"
    assert await http(world, "/healthz") == (200, "ok\n")
    assert (await http(world, "/ledger"))[0] == 404


async def test_metrics_count_outcomes_runners_and_calls(world: World) -> None:
    async with world.runner():
        await world.inline(b"x")
        await world.inline(b"y")
        code, text = await http(world, "/metrics")
        with pytest.raises(grpc.aio.AioRpcError):
            await world.inline(b"x", action="test.unknown")
        _, after = await http(world, "/metrics")
    assert code == 200
    assert 'transom_runs_total{state="succeeded"} 2.0' in text
    assert 'transom_runs_total{state="failed"} 0.0' in text
    assert "transom_live_runs 0.0" in text
    assert "transom_reserved_bytes 0.0" in text
    assert "transom_runner_sessions 1.0" in text
    assert 'transom_rpcs_total{code="OK",method="/transom.runs.v1.RunService/ProcessInline"} 2.0' in text
    assert 'transom_rpcs_total{code="NOT_FOUND",method="/transom.runs.v1.RunService/ProcessInline"} 1.0' in after


async def test_metrics_count_live_runs_and_their_bytes(world: World) -> None:
    async with world.runner(hang) as runner:
        call = asyncio.create_task(world.inline(b"x"))
        await runner.assignment()
        _, text = await http(world, "/metrics")
        call.cancel()
        await runner.hear("cancel")
    assert "transom_live_runs 1.0" in text
    assert "transom_reserved_bytes 0.0" not in text


async def test_a_client_cannot_make_labels_of_metrics(world: World) -> None:
    call: Any = world.channel().unary_unary("/planted.Service/Method")
    with pytest.raises(grpc.aio.AioRpcError):
        await call(b"", metadata=world.metadata(), timeout=WITHIN_S)
    assert "planted" not in (await http(world, "/metrics"))[1]


async def test_a_second_server_does_not_share_the_port(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    with pytest.raises(PortTaken):
        other.app.listener.open("127.0.0.1", world.port, other.tls("server"))
    other.app.http._socket.close()
    await other.app.ledger.close()
