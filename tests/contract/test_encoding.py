"""Pieces that are encoded by hand are the same bytes as protobuf's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from transom.runners.v1 import runner_service_pb2
from transom.runs.v1 import transfer_pb2
from transom_wire.encoding import framed, tag, varint

CHUNKS = tag(runner_service_pb2.FetchDocumentResponse, "chunks")
DATA = tag(transfer_pb2.DocumentChunk, "data")


@given(document=st.integers(0, 2**32 - 1), offset=st.integers(0, 2**64 - 1), data=st.binary(min_size=1, max_size=40_000))
def test_a_chunk_encoded_by_hand_is_read_as_it_was(document: int, offset: int, data: bytes) -> None:
    head = transfer_pb2.DocumentChunk(document=document, offset=offset).SerializeToString()
    encoded = b"".join(framed(CHUNKS, [head, *framed(DATA, [data])]))
    expected = runner_service_pb2.FetchDocumentResponse(chunks=[transfer_pb2.DocumentChunk(document=document, offset=offset, data=data)])
    assert runner_service_pb2.FetchDocumentResponse.FromString(encoded) == expected


def test_a_length_takes_as_many_bytes_as_it_needs() -> None:
    assert [len(varint(number)) for number in (0, 127, 128, 16_383, 16_384, 2**32)] == [1, 1, 2, 2, 3, 5]
