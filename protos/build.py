"""Generate the stubs from the protos, and check them: lint, breaking changes, freshness, declared data classes.

Usage: build.py generate | check | baseline

Runs in `.venv`; the generator itself lives in `.venv-protos`, since it needs an older protobuf. Nothing here is installed.
"""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent
BUILD = ROOT.parent / "build"
PROTOC = ROOT.parent / ".venv-protos" / "bin" / "python"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
BASELINE = ROOT / "baseline.binpb"
VALIDATE = "buf/validate/validate.proto"
LINT = {"version": "v2", "lint": {"use": ["STANDARD", "COMMENTS"], "disallow_comment_ignores": True}, "breaking": {"use": ["FILE"]}}
# Only files named after a service hold one; the generator writes an empty companion for every other.
SERVICES = ("run_service", "runner_service", "fleet_service", "action_service")
OUR_FOLDERS = ("transom", "buf")


def sources() -> list[str]:
    """List the protos, relative to this folder."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "transom").rglob("*.proto"))


def protoc(*arguments: str) -> None:
    """Run the pinned protoc over our protos."""
    BUILD.mkdir(exist_ok=True)
    validate = BUILD / "validate.binpb"
    validate.write_bytes(_imports_of_validate())
    command = [str(PROTOC), "-m", "grpc_tools.protoc", f"-I{ROOT}", f"-I{SITE_PACKAGES}", f"--descriptor_set_in={validate}"]
    subprocess.run([*command, *arguments], check=True, cwd=ROOT, env={"PATH": f"{PROTOC.parent}:/usr/bin:/bin"})


def _imports_of_validate() -> bytes:
    """Describe what our protos import.

    protovalidate ships its rules as a descriptor, without a .proto file; and protoc reads either descriptors or
    files for an import, so everything imported is handed over as descriptors.
    """
    from google.protobuf import any_pb2, duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2
    from google.rpc import status_pb2

    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, any_pb2, duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, status_pb2):
        files.file.add().ParseFromString(module.DESCRIPTOR.serialized_pb)
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def generate(out: Path) -> None:
    """Write all stubs below `out`."""
    protoc(
        f"--python_out={out}", f"--grpc_python_out={out}", f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet,only_async:{out}", *sources()
    )
    protoc(f"--python_out={out}", f"--mypy_out=quiet:{out}", VALIDATE)
    for stub in out.rglob("*_pb2_grpc.py*"):
        if not stub.name.startswith(SERVICES):
            stub.unlink()


def image(out: Path) -> None:
    """Write the descriptor set of our protos, with comments, as buf reads it."""
    protoc(f"--descriptor_set_out={out}", "--include_imports", "--include_source_info", *sources())


def generated(root: Path) -> Iterator[Path]:
    """List the stubs below `root`, relative to it."""
    for folder in OUR_FOLDERS:
        for path in (root / folder).rglob("*_pb2*.py*"):
            if path.suffix in {".py", ".pyi"}:
                yield path.relative_to(root)


def stale() -> list[str]:
    """Name the stubs that differ from what the generator makes now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        names = set(generated(fresh)) | set(generated(ROOT))
        return sorted(str(name) for name in names if not _same(fresh / name, ROOT / name))


def _same(left: Path, right: Path) -> bool:
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


def buf(*arguments: str) -> int:
    """Run buf offline; 0 when it is content."""
    binary = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
    return subprocess.run([binary, *arguments, "--config", json.dumps(LINT)], check=False).returncode


def check() -> int:
    """Lint, compare with the baseline, and look for stale stubs; returns how many checks failed."""
    current = BUILD / "image.binpb"
    image(current)
    ours = [argument for name in sources() for argument in ("--path", name)]
    failed = int(buf("lint", str(current), *ours) != 0)
    failed += int(buf("breaking", str(current), "--against", str(BASELINE), *ours) != 0)
    if names := stale():
        print("stale stubs, run `make protos`:", *names, sep="\n  ")
        failed += 1
    return failed


def main() -> int:
    """Do what the command line says."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "check"
    if verb == "generate":
        for name in list(generated(ROOT)):
            (ROOT / name).unlink()
        generate(ROOT)
    elif verb == "baseline":
        image(BASELINE)
    else:
        return min(1, check())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
