"""Open the gRPC port: TLS, the layers around every RPC, and the services behind them, each in one visible list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_channelz.v1 import channelz as channelz_servicers
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from transom.plugins.v1 import action_service_pb2, action_service_pb2_grpc
from transom.runners.v1 import fleet_service_pb2, fleet_service_pb2_grpc, runner_service_pb2, runner_service_pb2_grpc
from transom.runs.v1 import run_service_pb2, run_service_pb2_grpc
from transom_wire.channel import server_options
from transom_wire.credentials import TlsFiles, server_credentials
from transom_wire.encoding import Peel

from transom_server import interceptors
from transom_server.api.fleet import ActionService, FleetService
from transom_server.api.runners import RunnerService
from transom_server.api.runs import RunService
from transom_server.identity.policy import Policy, declared
from transom_server.identity.tokens import TokenVerifier
from transom_server.metrics import Metrics

SERVICES: Sequence[ServiceDescriptor] = (
    run_service_pb2.DESCRIPTOR.services_by_name["RunService"],
    runner_service_pb2.DESCRIPTOR.services_by_name["RunnerService"],
    fleet_service_pb2.DESCRIPTOR.services_by_name["FleetService"],
    action_service_pb2.DESCRIPTOR.services_by_name["ActionService"],
)
READERS: Mapping[str, Peel] = {
    "/transom.runs.v1.RunService/Process": Peel(
        run_service_pb2.ProcessRequest, ("items", "chunk", "data"), ("items", "start", "inline_documents")
    ),
    "/transom.runners.v1.RunnerService/Session": Peel(runner_service_pb2.SessionRequest, ("items", "result", "chunks", "data")),
    "/transom.runners.v1.RunnerService/PushResult": Peel(runner_service_pb2.PushResultRequest, ("chunks", "data")),
}
"""Requests that carry chunks: their bytes are taken out without a copy."""
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
UNARY_AT_MOST_S = 3600.0


class PortTaken(Exception):
    """Another program listens on the port."""


class Listener:
    """The gRPC server with everything on it."""

    def __init__(self, *, verifier: TokenVerifier, trust_domain: str, metrics: Metrics) -> None:
        policies = declared(SERVICES)
        self.health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=server_options(),
            interceptors=(
                interceptors.Layers(
                    interceptors.sanitise(),
                    interceptors.count(metrics),
                    interceptors.identify(verifier, trust_domain, policies),
                    interceptors.admit(policies),
                    interceptors.bound(_unary(SERVICES), UNARY_AT_MOST_S),
                    readers=READERS,
                ),
            ),
        )
        self.policies: Mapping[str, Policy] = policies

    def serve(self, *, runs: RunService, runners: RunnerService, fleet: FleetService, actions: ActionService) -> None:
        """Add our services, and those that gRPC's own tools expect."""
        server = self._server
        run_service_pb2_grpc.add_RunServiceServicer_to_server(runs, server)
        runner_service_pb2_grpc.add_RunnerServiceServicer_to_server(runners, server)
        fleet_service_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
        action_service_pb2_grpc.add_ActionServiceServicer_to_server(actions, server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz_servicers.aio.ChannelzServicer(), server)
        names = [service.full_name for service in SERVICES]
        names += [
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name,
        ]
        _reflect(server, (*names, reflection.SERVICE_NAME, REFLECTION_V1))

    def open(self, host: str, port: int, tls: TlsFiles) -> int:
        """Bind the port; returns its number.

        Raises:
            PortTaken: It cannot be had.
        """
        try:
            return self._server.add_secure_port(f"{host}:{port}", server_credentials(tls))
        except RuntimeError:
            raise PortTaken(f"port {port} is taken; choose another with --port") from None

    async def start(self) -> None:
        """Serve."""
        await self._server.start()
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float) -> None:
        """End every RPC after a grace; streams must have been told before, or they use all of it."""
        await self._server.stop(grace_s)


def _reflect(server: grpc.aio.Server, names: Sequence[str]) -> None:
    servicer = reflection.aio.ReflectionServicer(service_names=names)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    # The two versions are the same messages; grpcio ships the older only, and newer tools ask for v1.
    for name in (reflection.SERVICE_NAME, REFLECTION_V1):
        handler: Any = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
        server.add_generic_rpc_handlers((handler,))


def _unary(services: Sequence[ServiceDescriptor]) -> frozenset[str]:
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if not method.client_streaming and not method.server_streaming
    )
