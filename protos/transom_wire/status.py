"""Turn errors into gRPC statuses and back: `code`, message, and an ErrorInfo with domain `transom`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_status import rpc_status

from transom_wire.errors import DOMAIN, Cancelled, DeadlineExceeded, Internal, TransomError, Unauthenticated, Unavailable


def _tree(root: type[TransomError]) -> list[type[TransomError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


BY_REASON: Final[Mapping[str, type[TransomError]]] = {error.reason: error for error in _tree(TransomError)[1:]}
"""Every error class by its reason. The root is never sent: its reason is that of `Internal`."""


def for_reason(reason: str) -> TransomError:
    """Make the error with this reason; an unknown reason is an internal error."""
    return BY_REASON.get(reason, Internal)()


_BY_NUMBER = {code.value[0]: code for code in StatusCode}
_WITHOUT_DETAIL: dict[StatusCode, type[TransomError]] = {
    StatusCode.UNAVAILABLE: Unavailable,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    StatusCode.CANCELLED: Cancelled,
    StatusCode.UNAUTHENTICATED: Unauthenticated,
}


def to_status(error: TransomError) -> status_pb2.Status:
    """Describe an error as a google.rpc.Status."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata))
    if error.violations:
        violations = [error_details_pb2.BadRequest.FieldViolation(field=field, description=text) for field, text in error.violations]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    return status


def from_status(status: status_pb2.Status) -> TransomError:
    """Rebuild the error that a status describes."""
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(violations.DESCRIPTOR):
            detail.Unpack(violations)
    kind = BY_REASON.get(info.reason) if info.domain == DOMAIN else None
    if kind is None:
        kind = _WITHOUT_DETAIL.get(_BY_NUMBER.get(status.code, StatusCode.INTERNAL), Internal)
        return kind() if kind is not Internal else Internal(f"the server answered with code {status.code}")
    fields = [(violation.field, violation.description) for violation in violations.field_violations]
    return kind(status.message or None, metadata=dict(info.metadata), violations=fields)


def reason_of(status: status_pb2.Status) -> str:
    """Return the reason code of a status; empty when it is OK."""
    return from_status(status).reason if status.code else ""


def from_rpc_error(error: AioRpcError) -> TransomError:
    """Turn what gRPC raised into one of our errors; text that gRPC made up is dropped."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        status = None
    if status is not None and status.details:
        return from_status(status)
    return _WITHOUT_DETAIL.get(error.code(), Internal)()
