"""Write the contract out of what is installed: .proto files, and one descriptor set with all that they import."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default

from transom_client.proto_text import proto_text

DESCRIPTORS: Final = "transom.binpb"
SERVICES: Final = (
    "transom.runs.v1.run_service_pb2",
    "transom.runners.v1.runner_service_pb2",
    "transom.runners.v1.fleet_service_pb2",
    "transom.plugins.v1.action_service_pb2",
)
"""Modules of all services; everything else is imported by them."""
WELL_KNOWN: Final = "google/protobuf/"


def files() -> list[FileDescriptor]:
    """Return every file of the contract, imports before what imports them."""
    found: dict[str, FileDescriptor] = {}
    for module in SERVICES:
        _collect(importlib.import_module(module).DESCRIPTOR, found)
    return list(found.values())


def _collect(file: FileDescriptor, found: dict[str, FileDescriptor]) -> None:
    if file.name in found:
        return
    for imported in file.dependencies:
        _collect(imported, found)
    found[file.name] = file


def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """Describe the whole contract, with everything that it imports."""
    described = descriptor_pb2.FileDescriptorSet()
    for file in files():
        described.file.add().ParseFromString(file.serialized_pb)
    return described


def export(folder: Path) -> list[Path]:
    """Write the contract below a folder; returns the files in order."""
    written = []
    for name, text in _texts():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path)
    descriptors = folder / DESCRIPTORS
    descriptors.write_bytes(descriptor_set().SerializeToString(deterministic=True))
    return sorted([*written, descriptors])


def _texts() -> Iterator[tuple[str, str]]:
    for file in files():
        if file.name.startswith(WELL_KNOWN):
            continue
        source = _source(file.name)
        # Not every package ships the text that its descriptors were made from.
        yield file.name, source.read_text(encoding="utf-8") if source is not None else proto_text(_described(file.name))


def _source(name: str) -> Path | None:
    module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    beside = Path(str(module.__file__)).with_name(name.rpartition("/")[2])
    return beside if beside.exists() else None


def _described(name: str) -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto.FromString(Default().FindFileByName(name).serialized_pb)
