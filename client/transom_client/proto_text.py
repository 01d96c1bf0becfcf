"""Write a file descriptor as .proto text, for imports that are installed as descriptors only.

Enough for what such files hold: messages, enums, oneofs, maps and extensions. Options are left out, since they do not
change what is on the wire, but for `packed`, which does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto

_SCALARS = {
    FieldDescriptorProto.TYPE_DOUBLE: "double",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_UINT64: "uint64",
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_FIXED64: "fixed64",
    FieldDescriptorProto.TYPE_FIXED32: "fixed32",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_UINT32: "uint32",
    FieldDescriptorProto.TYPE_SFIXED32: "sfixed32",
    FieldDescriptorProto.TYPE_SFIXED64: "sfixed64",
    FieldDescriptorProto.TYPE_SINT32: "sint32",
    FieldDescriptorProto.TYPE_SINT64: "sint64",
}
_LAST_NUMBER = 536_870_912


def proto_text(file: FileDescriptorProto) -> str:
    """Return a file's text."""
    proto2 = file.syntax in {"", "proto2"}
    lines = [f'syntax = "{file.syntax or "proto2"}";', "", f"package {file.package};", ""]
    lines += [f'import "{name}";' for name in file.dependency]
    for enum in file.enum_type:
        lines += ["", *_enum(enum)]
    for message in file.message_type:
        lines += ["", *_message(message, proto2=proto2)]
    lines += _extensions(file.extension, proto2=proto2)
    return "\n".join(lines) + "\n"


def _message(message: DescriptorProto, *, proto2: bool) -> Iterator[str]:
    yield f"message {message.name} {{"
    for enum in message.enum_type:
        yield from _indented(_enum(enum))
    maps = {one.name: one for one in message.nested_type if one.options.map_entry}
    for nested in message.nested_type:
        if nested.name not in maps:
            yield from _indented(_message(nested, proto2=proto2))
    begun: set[int] = set()
    for field in message.field:
        if field.HasField("oneof_index") and not field.proto3_optional:
            if field.oneof_index not in begun:
                begun.add(field.oneof_index)
                yield from _indented(_oneof(message, field.oneof_index))
        else:
            yield f"  {_field(field, maps, proto2=proto2)}"
    for one in message.extension_range:
        last = "max" if one.end >= _LAST_NUMBER else str(one.end - 1)
        yield f"  extensions {one.start} to {last};"
    for reserved in message.reserved_range:
        yield f"  reserved {reserved.start} to {reserved.end - 1};"
    for name in message.reserved_name:
        yield f'  reserved "{name}";'
    yield from _indented(_extensions(message.extension, proto2=proto2))
    yield "}"


def _oneof(message: DescriptorProto, index: int) -> Iterator[str]:
    yield f"oneof {message.oneof_decl[index].name} {{"
    for field in message.field:
        if field.HasField("oneof_index") and field.oneof_index == index:
            yield f"  {_type(field)} {field.name} = {field.number};"
    yield "}"


def _field(field: FieldDescriptorProto, maps: dict[str, DescriptorProto], *, proto2: bool) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2]) if field.type == FieldDescriptorProto.TYPE_MESSAGE else None
    if entry is not None:
        return f"map<{_type(entry.field[0])}, {_type(entry.field[1])}> {field.name} = {field.number};"
    label = ""
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        label = "repeated "
    elif field.label == FieldDescriptorProto.LABEL_REQUIRED:
        label = "required "
    elif proto2 or field.proto3_optional:
        label = "optional "
    packed = f" [packed = {str(field.options.packed).lower()}]" if field.options.HasField("packed") else ""
    return f"{label}{_type(field)} {field.name} = {field.number}{packed};"


def _type(field: FieldDescriptorProto) -> str:
    return _SCALARS.get(field.type) or field.type_name


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    if enum.options.allow_alias:
        yield "  option allow_alias = true;"
    for value in enum.value:
        yield f"  {value.name} = {value.number};"
    for reserved in enum.reserved_range:
        yield f"  reserved {reserved.start} to {reserved.end};"
    yield "}"


def _extensions(fields: Sequence[FieldDescriptorProto], *, proto2: bool) -> Iterator[str]:
    for extendee in dict.fromkeys(field.extendee for field in fields):
        yield ""
        yield f"extend {extendee} {{"
        for field in fields:
            if field.extendee == extendee:
                yield f"  {_field(field, {}, proto2=proto2 or bool(field.label == FieldDescriptorProto.LABEL_OPTIONAL))}"
        yield "}"


def _indented(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}" if line else line
