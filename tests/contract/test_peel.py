"""A large field is taken out of a message as it was, whatever else the message holds."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_service_pb2, transfer_pb2
from transom_wire.encoding import PEELED_FROM_BYTES, Peel

CHUNK = Peel(run_service_pb2.ProcessRequest, ("items", "chunk", "data"), ("items", "start", "inline_documents"))
RESULT = Peel(wire.SessionRequest, ("items", "result", "chunks", "data"))
LARGE = bytes(range(256)) * (PEELED_FROM_BYTES // 256)


def chunk(data: bytes, **fields: Any) -> run_service_pb2.ProcessItem:
    return run_service_pb2.ProcessItem(tag=7, chunk=transfer_pb2.DocumentChunk(data=data, **fields))


@given(document=st.integers(0, 2**32 - 1), offset=st.integers(0, 2**64 - 1), number=st.integers(0, 2**32 - 1))
def test_what_is_left_and_what_was_taken_are_the_message(document: int, offset: int, number: int) -> None:
    item = chunk(LARGE, document=document, offset=offset, **{"pass": number})
    rest, data = CHUNK(run_service_pb2.ProcessRequest(items=[item]).SerializeToString())
    assert data == LARGE
    item.chunk.ClearField("data")
    assert rest.items[0] == item


def test_a_result_is_taken_out_from_between_other_fields() -> None:
    fence = session_pb2.Fence(run="a", attempt=1, token=2**63)
    result = session_pb2.AttemptResult(fence=fence, chunks=[transfer_pb2.ResultChunk(part=1, data=LARGE, last=True, media_type="a/b")])
    rest, data = RESULT(wire.SessionRequest(sequence=300, ack=2, items=[wire.RunnerItem(result=result)]).SerializeToString())
    assert data == LARGE
    assert (rest.sequence, rest.ack, rest.items[0].result.fence) == (300, 2, fence)
    assert rest.items[0].result.chunks[0].last


def test_an_inline_document_is_taken_out_by_the_second_path() -> None:
    start = run_service_pb2.StartRun(inline_documents=[LARGE])
    rest, data = CHUNK(run_service_pb2.ProcessRequest(items=[run_service_pb2.ProcessItem(tag=1, start=start)]).SerializeToString())
    assert data == LARGE
    assert rest.items[0].tag == 1


@pytest.mark.parametrize(
    "message",
    [
        run_service_pb2.ProcessRequest(items=[chunk(LARGE), chunk(LARGE)]),
        run_service_pb2.ProcessRequest(items=[chunk(b"small")]),
        run_service_pb2.ProcessRequest(),
    ],
    ids=["two chunks", "a small chunk", "nothing"],
)
def test_a_message_whose_field_does_not_stand_alone_is_read_as_usual(message: Message) -> None:
    assert CHUNK(message.SerializeToString()) == (message, None)


@given(garbage=st.binary(max_size=64))
def test_what_is_no_message_is_refused_by_protobuf_alone(garbage: bytes) -> None:
    raw = garbage + LARGE
    try:
        expected: Message | None = run_service_pb2.ProcessRequest.FromString(raw)
    except DecodeError:
        expected = None
    if expected is None:
        with pytest.raises(DecodeError):
            CHUNK(raw)
    else:
        rest, data = CHUNK(raw)
        assert data is not None or rest == expected
