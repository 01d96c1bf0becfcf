"""A spec that was seen before is read once; one that says something of a document is never remembered."""

from __future__ import annotations

import pytest
from transom.runs.v1 import run_pb2
from transom_server.api.specs import REMEMBERED, Specs
from transom_server.run import Request
from transom_wire.errors import InvalidRequest


class Counting(Specs):
    """Specs that count what they complete."""

    def __init__(self) -> None:
        super().__init__(self._count)
        self.completed = 0

    def _count(self, request: Request) -> Request:
        self.completed += 1
        return request


def spec(size: int = 1, sha256: bytes = b"") -> run_pb2.RunSpec:
    made = run_pb2.RunSpec()
    made.target.action = "test.echo"
    made.documents.add(media_type="text/plain", size_bytes=size, sha256=sha256)
    return made


def test_the_same_spec_is_read_once() -> None:
    specs = Counting()
    assert specs.request_of(spec()) is specs.request_of(spec())
    assert specs.completed == 1


def test_a_spec_with_a_digest_parameters_or_a_key_is_not_remembered() -> None:
    specs = Counting()
    with_parameters = spec()
    with_parameters.parameters.update({"language": "eng"})
    with_key = spec()
    with_key.idempotency_key = "invoice-7731"
    for one in (spec(sha256=bytes(32)), with_parameters, with_key):
        specs.request_of(one)
        specs.request_of(one)
    assert specs.completed == 6
    assert specs._known == {}


def test_what_is_remembered_is_bounded() -> None:
    specs = Counting()
    for size in range(1, REMEMBERED + 100):
        specs.request_of(spec(size))
    assert len(specs._known) == REMEMBERED


def test_a_spec_that_breaks_a_rule_is_refused_each_time() -> None:
    specs = Counting()
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            specs.request_of(run_pb2.RunSpec())
    assert specs.completed == 0
