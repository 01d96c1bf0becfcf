"""The envelope of the batched limit: a message type of two fields, made at run time."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto


def _types() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="bench/envelope.proto", package="bench", syntax="proto3")
    item = file.message_type.add(name="Item")
    item.field.add(name="id", number=1, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL)
    item.field.add(name="data", number=2, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL)
    envelope = file.message_type.add(name="Envelope")
    envelope.field.add(name="items", number=1, type=_Field.TYPE_MESSAGE, type_name=".bench.Item", label=_Field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    types = message_factory.GetMessageClassesForFiles([file.name], pool)
    return types["bench.Item"], types["bench.Envelope"]


Item, Envelope = _types()


def packed(message: Any) -> bytes:
    """Serialise a message."""
    data: bytes = message.SerializeToString()
    return data
