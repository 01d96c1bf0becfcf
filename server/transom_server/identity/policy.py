"""Read each method's policy from its proto option. A method without one is refused, and fails the build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor
from transom.identity.v1 import policy_pb2
from transom_wire.errors import CertificateRefused, PermissionDenied

from transom_server.identity.caller import Caller

PEERS = {policy_pb2.PEER_KIND_CALLER: "caller", policy_pb2.PEER_KIND_RUNNER: "runner"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may call one method."""

    peer: str
    """`caller`, `runner`, or `any`."""
    roles: frozenset[int] = frozenset()
    """For callers: any one of these suffices."""

    @property
    def needs_token(self) -> bool:
        """Whether a certificate alone is not enough."""
        return bool(self.roles)

    def admit_peer(self, kind: str) -> None:
        """Check the certificate's kind.

        Raises:
            CertificateRefused: It is of another kind.
        """
        if self.peer not in {"any", kind}:
            raise CertificateRefused

    def admit(self, caller: Caller) -> None:
        """Check the token's roles.

        Raises:
            PermissionDenied: It carries none that the method admits.
        """
        if self.roles and not (self.roles & caller.roles):
            raise PermissionDenied


_EVERY_ROLE = frozenset({policy_pb2.ROLE_VIEWER, policy_pb2.ROLE_CALLER, policy_pb2.ROLE_OPERATOR})
FOREIGN: Mapping[str, Policy] = {
    "/grpc.health.v1.Health/Check": Policy(peer="any"),
    "/grpc.health.v1.Health/Watch": Policy(peer="any"),
    "/grpc.health.v1.Health/List": Policy(peer="any"),
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Policy(peer="caller", roles=_EVERY_ROLE),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Policy(peer="caller", roles=_EVERY_ROLE),
} | {
    f"/grpc.channelz.v1.Channelz/{method}": Policy(peer="caller", roles=frozenset({policy_pb2.ROLE_OPERATOR}))
    for method in ("GetTopChannels", "GetServers", "GetServer", "GetServerSockets", "GetChannel", "GetSubchannel", "GetSocket")
}
"""Methods of services that are not ours, and so cannot carry our option."""


class Undeclared(Exception):
    """A method has no policy: declare one with the option `transom.identity.v1.policy`."""


def declared(services: Iterable[ServiceDescriptor]) -> dict[str, Policy]:
    """Collect the policies of our services by the methods' full names.

    Raises:
        Undeclared: A method has none.
    """
    policies = dict(FOREIGN)
    for service in services:
        for method in service.methods:
            option = method.GetOptions().Extensions[policy_pb2.policy]
            peer = PEERS.get(option.peer)
            if peer is None or (peer == "caller" and not option.roles):
                raise Undeclared(method.full_name)
            policies[f"/{service.full_name}/{method.name}"] = Policy(peer=peer, roles=frozenset(option.roles))
    return policies
