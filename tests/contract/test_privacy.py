"""Every field declares its data class and every method its policy; what forgets to is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from transom.documents.v1 import document_pb2
from transom.identity.v1 import policy_pb2
from transom.ledger.v1 import record_pb2
from transom.plugins.v1 import action_pb2, action_service_pb2
from transom.privacy.v1 import privacy_pb2
from transom.runners.v1 import fleet_service_pb2, runner_service_pb2, session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_server.identity.policy import declared
from transom_server.ledger.persistable import NotPersistable, scrub
from transom_wire.privacy import describe, rule, unstorable

FILES: list[FileDescriptor] = [
    module.DESCRIPTOR
    for module in (
        document_pb2, policy_pb2, record_pb2, action_pb2, action_service_pb2, privacy_pb2, fleet_service_pb2, runner_service_pb2,
        session_pb2, run_pb2, run_service_pb2, transfer_pb2,
    )
]  # fmt: skip
MARKER = "MARKER-4711"


def messages(descriptors: Iterator[Descriptor]) -> Iterator[Descriptor]:
    for descriptor in descriptors:
        yield descriptor
        yield from messages(iter(descriptor.nested_types))


def undeclared_fields(file: FileDescriptor) -> list[str]:
    found = messages(iter(file.message_types_by_name.values()))
    maps = (one for one in found if not one.GetOptions().map_entry)
    return [field.full_name for message in maps for field in message.fields if not rule(field).data_class]


def undeclared_methods(file: FileDescriptor) -> list[str]:
    methods: list[MethodDescriptor] = [method for service in file.services_by_name.values() for method in service.methods]
    return [method.full_name for method in methods if not method.GetOptions().Extensions[policy_pb2.policy].peer]


def made_up(name: str) -> FileDescriptor:
    """A file whose only field and method declare nothing."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=name, syntax="proto3")
    message = file.message_type.add(name="Note")
    message.field.add(name="text", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING)
    service = file.service.add(name="Notes")
    service.method.add(name="Take", input_type=f".{name}.Note", output_type=f".{name}.Note")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindFileByName(f"{name}.proto")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_field_declares_its_data_class(file: FileDescriptor) -> None:
    assert undeclared_fields(file) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_method_declares_who_may_call_it(file: FileDescriptor) -> None:
    assert undeclared_methods(file) == []


def test_every_file_of_the_contract_is_looked_at() -> None:
    from pathlib import Path

    root = Path(__file__).resolve().parents[2] / "protos"
    assert {str(path.relative_to(root)) for path in (root / "transom").rglob("*.proto")} == {file.name for file in FILES}


def test_a_field_and_a_method_that_declare_nothing_are_found() -> None:
    file = made_up("planted_lint")
    assert undeclared_fields(file) == ["planted_lint.Note.text"]
    assert undeclared_methods(file) == ["planted_lint.Notes.Take"]


def test_a_service_with_an_undeclared_method_stops_the_server_from_starting() -> None:
    with pytest.raises(Exception, match="Take"):
        declared([made_up("planted_policy").services_by_name["Notes"]])


@pytest.mark.parametrize("message", [document_pb2.Page(text=MARKER), run_pb2.RunSpec(), session_pb2.Assign(), action_pb2.Action()])
def test_the_ledger_refuses_what_is_not_declared_storable(message: object) -> None:
    with pytest.raises(NotPersistable) as caught:
        scrub(message)  # type: ignore[type-var]
    assert MARKER not in str(caught.value)


def test_the_ledger_takes_its_records() -> None:
    assert unstorable(record_pb2.RunRecord.DESCRIPTOR) == frozenset()
    scrub(record_pb2.RunRecord(run="1"))
    scrub(record_pb2.RunnerRecord(runner="1"))


def test_the_redactor_shows_sizes_and_never_content() -> None:
    page = document_pb2.Page(number=3, text=MARKER, words=[document_pb2.Word(text=MARKER)])
    shown = describe(run_service_pb2.InlinePage(document=1, page=page))
    assert MARKER not in shown
    assert "document=1" in shown
    assert f"text=<{len(MARKER)}>" in describe(page)
