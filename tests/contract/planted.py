"""Protos that nobody wrote: made at run time, in a pool of their own, to see a check go red."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from transom.identity.v1 import policy_pb2
from transom.privacy.v1 import privacy_pb2

TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
SUBMESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL

STORABLE = privacy_pb2.Data(data_class=privacy_pb2.DATA_CLASS_INTERNAL, persist=privacy_pb2.PERSIST_LEDGER)


def file_with(fields: Mapping[str, privacy_pb2.Data | None], package: str = "transom.ledger.v1") -> descriptor_pb2.FileDescriptorProto:
    """Describe a file with one message, `Planted`, of text fields with these rules, and `Holder`, that holds one."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package.replace('.', '/')}/planted.proto", package=package, syntax="proto3")
    file.dependency.append("transom/privacy/v1/privacy.proto")
    planted = file.message_type.add(name="Planted")
    for number, (name, rule) in enumerate(fields.items(), 1):
        field = planted.field.add(name=name, number=number, type=TEXT, label=OPTIONAL)
        if rule is not None:
            field.options.Extensions[privacy_pb2.data].CopyFrom(rule)
    holder = file.message_type.add(name="Holder")
    field = holder.field.add(name="planted", number=1, type=SUBMESSAGE, label=OPTIONAL, type_name=f".{package}.Planted")
    field.options.Extensions[privacy_pb2.data].CopyFrom(STORABLE)
    return file


def service_with(policies: Mapping[str, policy_pb2.Policy | None]) -> descriptor_pb2.FileDescriptorProto:
    """Describe a file with one service whose methods have these policies."""
    file = file_with({}, package="transom.planted.v1")
    file.dependency.append("transom/identity/v1/policy.proto")
    service = file.service.add(name="PlantedService")
    for name, policy in policies.items():
        method = service.method.add(name=name, input_type=".transom.planted.v1.Planted", output_type=".transom.planted.v1.Planted")
        if policy is not None:
            method.options.Extensions[policy_pb2.policy].CopyFrom(policy)
    return file


def build(file: descriptor_pb2.FileDescriptorProto) -> FileDescriptor:
    """Make the descriptors of a file, beside those of all that it imports."""
    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, privacy_pb2, policy_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(file.name)


def message_of(file: FileDescriptor, name: str = "Planted") -> Message:
    """Make an empty message of a planted type."""
    return message_factory.GetMessageClass(file.message_types_by_name[name])()
