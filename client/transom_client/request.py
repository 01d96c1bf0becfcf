"""What a caller asks for: everything about a run but the bytes of its documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from transom.runs.v1 import run_pb2
from transom_wire.errors import BadParameters

from transom_client.documents import Measured
from transom_client.states import Containment, Persistence, Replay

Parameter = str | int | float | bool | None | Sequence["Parameter"] | Mapping[str, "Parameter"]
"""A parameter's value: whatever JSON can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How documents are to be processed."""

    action: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict, repr=False)
    timeout_s: float = 300.0
    min_containment: Containment = Containment.UNSPECIFIED
    max_persistence: Persistence = Persistence.UNSPECIFIED
    zone: str = ""
    replay: Replay = Replay.UNSPECIFIED
    max_attempts: int = 0
    """1 to 5; the server's default when 0."""
    resend: bool | None = None
    """Whether the run may be sent again after the connection broke; None asks whether its action is idempotent."""

    idempotency_key: str = field(default="", repr=False)
    """A name of the caller's own: the server starts one run under it."""
    detach_grace_s: float = 0.0
    """How long the run goes on when the connection is lost; this end attaches to it again."""

    def spec(self, documents: Sequence[Measured]) -> run_pb2.RunSpec:
        """Describe the run for the server.

        Raises:
            BadParameters: A parameter is not of a kind that JSON has.
        """
        spec = run_pb2.RunSpec(
            target=run_pb2.Target(action=self.action),
            timeout=_duration(self.timeout_s),
            min_containment=int(self.min_containment),  # type: ignore[arg-type]
            max_persistence=int(self.max_persistence),  # type: ignore[arg-type]
            zone=self.zone,
            replay_mode=int(self.replay),  # type: ignore[arg-type]
            max_attempts=self.max_attempts,
            idempotency_key=self.idempotency_key,
            detach_grace=_duration(self.detach_grace_s) if self.detach_grace_s else None,
        )
        if self.parameters:
            try:
                spec.parameters.update(dict(self.parameters))
            except (TypeError, ValueError):
                raise BadParameters("parameters must be what JSON can say: text, numbers, booleans, lists, objects") from None
        for document in documents:
            spec.documents.add(media_type=document.media_type, size_bytes=document.size_bytes, sha256=document.sha256)
        return spec


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(int(seconds * 1000))
    return duration
