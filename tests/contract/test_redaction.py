"""Neither the redactor nor the log formatter lets content through, whatever it hides in."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from hypothesis import given
from transom.documents.v1 import document_pb2
from transom.runners.v1 import runner_service_pb2, session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_wire import logs
from transom_wire.logs import ALLOWED, AllowListFormatter
from transom_wire.privacy import SHOWN, describe, rule

MARKER = "QZX-MARKER-7731"
STREAMED = (
    run_service_pb2.ProcessRequest,
    run_service_pb2.ProcessResponse,
    runner_service_pb2.SessionRequest,
    runner_service_pb2.SessionResponse,
)
SENTENCES = st.text(min_size=3).map(lambda text: f"\u00a7{text}\u00a7")


def fill(message: Message, depth: int = 0) -> Message:
    """Put the marker into every field that may hold content, and something into every other."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and depth < 6:
            if field.message_type.GetOptions().map_entry:
                continue
            target = getattr(message, field.name)
            fill(target.add() if field.is_repeated else target, depth + 1)
            if not field.is_repeated:
                target.SetInParent()
        elif field.message_type is None:
            put(message, field)
    return message


def put(message: Message, field: FieldDescriptor) -> None:
    shown = rule(field).data_class in SHOWN and field.containing_type.file.package.startswith("transom")
    text = "plain" if shown else MARKER
    if field.type == field.TYPE_STRING:
        value: Any = text
    elif field.type == field.TYPE_BYTES:
        value = text.encode()
    elif shown:
        value = 1
    else:
        # A number that is not shown has a test of its own.
        return
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


@pytest.mark.parametrize("kind", STREAMED, ids=lambda kind: kind.DESCRIPTOR.name)
def test_no_field_of_a_stream_s_messages_shows_content(kind: type[Message]) -> None:
    for item in kind.DESCRIPTOR.fields_by_name[kind.DESCRIPTOR.fields[-1].name].message_type.fields:
        message = kind()
        inner = getattr(message, message.DESCRIPTOR.fields[-1].name).add()
        if item.message_type is not None:
            fill(getattr(inner, item.name))
            getattr(inner, item.name).SetInParent()
        assert MARKER not in describe(message)
        assert MARKER not in describe(inner)


@given(text=SENTENCES, data=st.binary(min_size=8))
def test_a_description_holds_sizes_instead_of_content(text: str, data: bytes) -> None:
    chunk = describe(transfer_pb2.ResultChunk(part=3, data=data, media_type="text/plain"))
    assert f"data=<{len(data)}>" in chunk
    assert "part=3" in chunk
    spec = run_pb2.RunSpec(target=run_pb2.Target(action="test.echo"))
    spec.parameters.update({text: text})
    assert text not in describe(run_service_pb2.StartRun(spec=spec, inline_documents=[data]))
    assert text not in describe(session_pb2.Assign(parameters=spec.parameters))


@pytest.mark.parametrize(
    "message",
    [document_pb2.WordRange(first=4711), document_pb2.Word(confidence=0.4711), run_pb2.Timing(total=Duration(seconds=4711))],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_a_number_that_may_not_be_shown_is_not_shown(message: Message) -> None:
    assert "4711" not in describe(message)


def record(message: object, *arguments: object, name: str = "transom_server.test", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, __file__, 1, message, arguments, None)
    made.__dict__.update(fields)
    return made


@given(text=SENTENCES)
def test_arguments_unknown_fields_and_exceptions_are_dropped(text: str) -> None:
    made = record("run.failed %s", text, text=text, payload=text, run="r1", size_bytes=7)
    try:
        raise ValueError(text)
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    made.exc_text = made.stack_info = text
    line = AllowListFormatter().format(made)
    found = json.loads(line)
    assert text not in json.dumps(found, ensure_ascii=False)
    assert (found["event"], found["run"], found["size_bytes"], found["error"]) == ("run.failed %s", "r1", 7, "ValueError")


@given(text=SENTENCES)
def test_a_foreign_logger_s_message_is_dropped(text: str) -> None:
    found = json.loads(AllowListFormatter().format(record(text, name="grpc._channel")))
    assert found["event"] == "grpc._channel"
    assert text not in json.dumps(found, ensure_ascii=False)


@pytest.mark.parametrize("value", [b"bytes", [MARKER], {"a": MARKER}, object(), run_pb2.RunSpec(), memoryview(b"x")])
def test_an_allowed_field_holds_plain_values_only(value: object) -> None:
    found = json.loads(AllowListFormatter().format(record("run.done", reason=value)))
    assert "reason" not in found


def test_a_message_that_is_no_text_is_not_printed() -> None:
    assert MARKER not in AllowListFormatter().format(record([MARKER]))


def test_the_allowed_fields_name_nothing_that_could_be_content() -> None:
    assert not ALLOWED & {"text", "data", "message", "parameters", "document", "documents", "name", "file", "path", "token", "error"}


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    grpc_filters = logging.getLogger("grpc._cython.cygrpc").filters[:]
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    logs.configure("INFO")
    yield written
    root.handlers[:], level = before
    root.setLevel(level)
    logging.getLogger("grpc._cython.cygrpc").filters[:] = grpc_filters
    for name in logs.OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_configured_process_writes_lines_without_content(configured: io.StringIO) -> None:
    logging.getLogger("transom_server.run").info("run.ended", extra={"run": "r1", "text": MARKER})
    logging.getLogger("grpc._cython.cygrpc").error("Unexpected [%s] raised by servicer method", MARKER)
    logging.getLogger("elsewhere").warning(MARKER)
    logging.getLogger("elsewhere").info(MARKER)
    lines = [json.loads(line) for line in configured.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["run.ended", "elsewhere"]
    assert MARKER not in configured.getvalue()
