"""What the privacy and policy options must say, beside being there; each planted fault is found."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor
from transom.identity.v1 import policy_pb2
from transom.privacy.v1 import privacy_pb2
from transom_server.identity.policy import FOREIGN, Undeclared, declared
from transom_server.listener import SERVICES
from transom_wire.privacy import rule

from contract.planted import STORABLE, build, file_with, service_with
from contract.test_privacy import FILES, messages, undeclared_fields

CALLER, RUNNER = policy_pb2.PEER_KIND_CALLER, policy_pb2.PEER_KIND_RUNNER
FIELDS: list[FieldDescriptor] = [
    field for file in FILES for message in messages(iter(file.message_types_by_name.values())) for field in message.fields
]
STORED_CLASSES = {privacy_pb2.DATA_CLASS_PUBLIC, privacy_pb2.DATA_CLASS_INTERNAL, privacy_pb2.DATA_CLASS_PERSONAL}
IDENTIFIERS = {"transom.runners.v1.Hello.boot_id", "transom.runs.v1.Accepted.token", "transom.runs.v1.AttachRun.token"}
"""Bytes that are taken from no document."""
SECRETS = {
    "transom.runners.v1.Hello.resume_token", "transom.runners.v1.Welcome.resume_token", "transom.runs.v1.Accepted.token",
    "transom.runs.v1.AttachRun.token",
}  # fmt: skip
"""Bytes that let their holder in."""


def test_the_walk_sees_every_field_and_the_listener_every_service() -> None:
    assert len(FIELDS) > 150
    found = {service.full_name for file in FILES for service in file.services_by_name.values()}
    assert found == {service.full_name for service in SERVICES}


def test_options_declare_a_data_class_too() -> None:
    extensions = [extension for file in FILES for extension in file.extensions_by_name.values()]
    assert len(extensions) == 2
    assert all(rule(extension).data_class == privacy_pb2.DATA_CLASS_PUBLIC for extension in extensions)


def test_a_planted_field_without_a_data_class_is_found_among_others() -> None:
    half = privacy_pb2.Data(persist=privacy_pb2.PERSIST_LEDGER)
    assert undeclared_fields(build(file_with({"fine": STORABLE}))) == []
    assert undeclared_fields(build(file_with({"fine": STORABLE, "bare": None}))) == ["transom.ledger.v1.Planted.bare"]
    assert undeclared_fields(build(file_with({"half": half}))) == ["transom.ledger.v1.Planted.half"]


def test_what_may_be_stored_is_neither_content_nor_a_credential() -> None:
    stored = [field for field in FIELDS if rule(field).persist == privacy_pb2.PERSIST_LEDGER]
    assert stored
    assert [field.full_name for field in stored if rule(field).data_class not in STORED_CLASSES] == []


def test_bytes_on_the_wire_are_content_unless_they_are_named_here() -> None:
    raw = [field for field in FIELDS if field.type == field.TYPE_BYTES and field.full_name not in IDENTIFIERS | SECRETS]
    assert [field.full_name for field in raw if rule(field).data_class != privacy_pb2.DATA_CLASS_CONTENT] == []
    secret = {
        field.full_name
        for field in FIELDS
        if field.type == field.TYPE_BYTES and rule(field).data_class == privacy_pb2.DATA_CLASS_CREDENTIAL
    }
    assert secret == SECRETS


@pytest.mark.parametrize(
    "policy",
    [None, policy_pb2.Policy(), policy_pb2.Policy(peer=CALLER), policy_pb2.Policy(roles=[policy_pb2.ROLE_CALLER])],
    ids=["none", "empty", "callers without a role", "a role for nobody"],
)
def test_the_server_does_not_start_with_half_a_policy(policy: policy_pb2.Policy | None) -> None:
    whole = policy_pb2.Policy(peer=RUNNER)
    good = build(service_with({"Fine": whole})).services_by_name["PlantedService"]
    bad = build(service_with({"Fine": whole, "Bare": policy})).services_by_name["PlantedService"]
    assert set(declared([good])) == {"/transom.planted.v1.PlantedService/Fine", *FOREIGN}
    with pytest.raises(Undeclared, match=r"PlantedService\.Bare"):
        declared([bad])
