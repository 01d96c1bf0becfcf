"""Every error crosses the wire and comes back as what it was."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata
from grpc_status import rpc_status
from transom_wire import errors
from transom_wire.errors import DOMAIN, Internal, TransomError
from transom_wire.status import BY_REASON, for_reason, from_rpc_error, from_status, reason_of, to_status


def tree(root: type[TransomError] = TransomError) -> list[type[TransomError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in tree(child))]


KINDS = sorted({kind for kind in tree() if kind is not TransomError}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_what_it_was(kind: type[TransomError]) -> None:
    sent = kind(metadata={"max_bytes": "7"}, violations=[("documents", "too many")])
    status = to_status(sent)
    got = from_status(status_pb2.Status.FromString(status.SerializeToString()))
    assert type(got) is kind
    assert (got.message, got.metadata, got.violations) == (kind.default_message(), {"max_bytes": "7"}, (("documents", "too many"),))
    assert status.code == kind.code.value[0]
    assert reason_of(status) == kind.reason


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_from_a_call(kind: type[TransomError]) -> None:
    status = rpc_status.to_status(to_status(kind()))
    raised = AioRpcError(status.code, Metadata(), Metadata(*status.trailing_metadata), status.details)
    assert type(from_rpc_error(raised)) is kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_is_one_lower_case_line_without_a_full_stop(kind: type[TransomError]) -> None:
    message = kind.default_message()
    assert "\n" not in message
    assert message[0].islower() or message[0] == "`"
    assert not message.endswith(".")


def test_reasons_are_unique_and_lead_back_to_their_class() -> None:
    reasons = [kind.reason for kind in KINDS]
    assert len(set(reasons)) == len(reasons)
    assert all(type(for_reason(kind.reason)) is kind for kind in KINDS)
    assert type(for_reason("NO_SUCH_REASON")) is Internal
    assert set(BY_REASON) == set(reasons)


def test_every_error_stands_in_the_tree_that_the_module_draws() -> None:
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in KINDS if kind.__name__ not in drawn] == []


def test_every_status_carries_our_domain() -> None:
    info = error_details_pb2.ErrorInfo()
    assert to_status(Internal()).details[0].Unpack(info)
    assert (info.domain, info.reason) == (DOMAIN, "INTERNAL")


def test_a_reason_of_another_domain_is_not_believed() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="strange text")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="TOKEN_EXPIRED", domain="elsewhere"))
    assert type(from_status(status)) is Internal
    assert "strange text" not in str(from_status(status))


def test_text_that_the_transport_made_up_is_dropped() -> None:
    for code, reason in ((grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"), (grpc.StatusCode.DATA_LOSS, "INTERNAL")):
        raised = AioRpcError(code, Metadata(), Metadata(), "text of the transport")
        assert from_rpc_error(raised).reason == reason
        assert "transport" not in str(from_rpc_error(raised))


def test_details_that_nobody_knows_are_passed_over() -> None:
    status = to_status(errors.DocumentEmpty())
    status.details.insert(0, AnyMessage(type_url="example/unknown", value=b"\xff"))
    assert type(from_status(status)) is errors.DocumentEmpty


def test_a_status_without_a_code_has_no_reason() -> None:
    assert reason_of(status_pb2.Status()) == ""
