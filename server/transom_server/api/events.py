"""Encode the events of a `Process` stream: small ones whole, and the bytes of a result uncopied."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import Message
from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_wire.encoding import Bytes, boxed, framed, tag, varint
from transom_wire.errors import RunTakenOver
from transom_wire.status import to_status

from transom_server.api.convert import name_of, outcome_message
from transom_server.run import Attempt, Following, Outcome, Piece, Run, Waiting

_EVENT: Final = run_service_pb2.ProcessEvent
_EVENTS: Final = tag(run_service_pb2.ProcessResponse, "events")
_TAG: Final = tag(_EVENT, "tag")
_SEQUENCE: Final = tag(_EVENT, "sequence")
_NAME: Final = tag(run_service_pb2.Accepted, "name")
_DATA: Final = tag(transfer_pb2.ResultChunk, "data")
_KINDS: Final = {field.name: tag(_EVENT, field.name) for field in _EVENT.DESCRIPTOR.oneofs_by_name["event"].fields}
_ACCEPTED: Final = _KINDS["accepted"]
_RESULT: Final = _KINDS["result"]

Body = list[Bytes]
"""What happened, encoded as the one field of an event that says so; in parts that are not copied yet."""


def line_head(number: int) -> bytes:
    """Encode what all events of one run begin with: the caller's tag."""
    return _TAG + varint(number) + _SEQUENCE


def numbered(head: bytes, sequence: int, body: Body) -> Body:
    """Make an event of an envelope."""
    start = head + varint(sequence)
    size = len(start)
    for part in body:
        size += len(part)
    return [_EVENTS + varint(size) + start, *body]


def accepted(run: Run) -> Body:
    """Tell the run's name."""
    return [boxed(_ACCEPTED, boxed(_NAME, name_of(run.id).encode()))]


def followed(run: Run, following: Following) -> Body:
    """Tell the name of a run that others may follow later, or did before, and what Attach asks for."""
    told = run_service_pb2.Accepted(name=name_of(run.id), joined=following.joined, result_bytes=following.resumes_at)
    if run.request.detach_grace_s:
        told.token = following.token
    return [_small("accepted", told)]


def taken_over(run: Run) -> Body:
    """Tell a caller that another follows the run, which goes on."""
    status = to_status(RunTakenOver(metadata={"run": name_of(run.id)}))
    return [_small("outcome", run_pb2.Outcome(state=int(run.state), status=status))]  # type: ignore[arg-type]


def started(attempt: Attempt) -> Body:
    """Tell which runner has the run."""
    return [_started(attempt.number, attempt.runner)]


@lru_cache(maxsize=1024)
def _started(number: int, runner: str) -> bytes:
    return _small("attempt", run_service_pb2.AttemptStarted(attempt=number, runner=runner))


def waiting(why: Waiting) -> Body:
    """Tell why the run waits."""
    return [_small("queued", run_service_pb2.Queued(reason=int(why)))]  # type: ignore[arg-type]


def progress(done: int, total: int) -> Body:
    """Tell how far the attempt is."""
    return [_small("progress", run_service_pb2.Progress(done=done, total=total))]


def upload_credit(total_bytes: int, pass_number: int) -> Body:
    """Grant document bytes."""
    pass_of: dict[str, Any] = {"pass": pass_number}
    return [_small("upload_credit", transfer_pb2.ByteCredit(total_bytes=total_bytes, **pass_of))]


def replay(pass_number: int) -> Body:
    """Ask for the documents again."""
    return [_small("replay", run_service_pb2.ReplayRequest(**{"pass": pass_number}))]


def result(piece: Piece) -> Body:
    """Pass on a piece of the result."""
    head = transfer_pb2.ResultChunk(
        part=piece.part, offset=piece.offset, last=piece.last, document=piece.document, page=piece.page,
        media_type=piece.media_type, attempt=piece.attempt,
    ).SerializeToString()  # fmt: skip
    chunk: Body = [head, *framed(_DATA, [piece.data])] if piece.data else [head]
    return framed(_RESULT, chunk)


def outcome(run: Run, ended: Outcome) -> Body:
    """Tell how the run ended."""
    return [_small("outcome", outcome_message(run, ended))]


def refusal(message: Message) -> Body:
    """Tell that there never was a run, by the outcome that it would have had."""
    return [_small("outcome", message)]


def _small(kind: str, message: Message) -> bytes:
    return boxed(_KINDS[kind], message.SerializeToString())
