"""grpcurl alone is enough for an operator: list, describe, and run a document."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from server.site import WITHIN_S
from server.world import World

GRPCURL = shutil.which("grpcurl", path=str(Path(sys.executable).parent))

pytestmark = pytest.mark.skipif(GRPCURL is None, reason="grpcurl is not packaged for this machine")


async def grpcurl(world: World, *arguments: str, message: Any = None, token: str | None = None) -> tuple[int, str, str]:
    """Run grpcurl against the world; returns its exit code, standard output and standard error."""
    assert GRPCURL is not None
    tls = world.tls("client")
    command = ["-cacert", str(tls.ca), "-cert", str(tls.certificate), "-key", str(tls.key)]
    command += ["-H", f"authorization: Bearer {token or world.token()}"]
    command += ["-d", "@"] if message is not None else []
    process = await asyncio.create_subprocess_exec(
        GRPCURL, *command, f"localhost:{world.port}", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WITHIN_S * 2):
        out, err = await process.communicate(json.dumps(message).encode() if message is not None else None)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_services_are_listed(world: World) -> None:
    code, out, err = await grpcurl(world, "list")
    assert (code, err) == (0, "")
    assert {"transom.runs.v1.RunService", "transom.runners.v1.FleetService", "transom.plugins.v1.ActionService"} <= set(out.split())


async def test_a_service_and_a_message_are_described(world: World) -> None:
    code, out, _ = await grpcurl(world, "describe", "transom.runs.v1.RunService")
    assert code == 0
    assert "rpc ProcessInline ( .transom.runs.v1.ProcessInlineRequest ) returns ( .transom.runs.v1.ProcessInlineResponse )" in out
    code, out, _ = await grpcurl(world, "describe", "transom.runs.v1.RunSpec")
    assert code == 0
    assert "max_attempts = 9" in out


async def test_a_document_is_run_with_one_call(world: World) -> None:
    message = {
        "target": {"action": "test.echo"},
        "parameters": {"times": 1},
        "documents": [{"mediaType": "text/plain", "data": base64.b64encode(b"from a shell").decode()}],
        "settings": {"timeout": "10s"},
    }
    async with world.runner():
        code, out, err = await grpcurl(world, "transom.runs.v1.RunService/ProcessInline", message=message)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["outcome"]["state"] == "RUN_STATE_SUCCEEDED"
    assert base64.b64decode(answer["parts"][0]["data"]) == b"from a shell"
    code, out, _ = await grpcurl(world, "transom.runs.v1.RunService/List", message={})
    assert code == 0
    assert json.loads(out)["runs"][0]["name"] == answer["name"]


async def test_the_stream_can_be_used_too(world: World) -> None:
    document = base64.b64encode(b"streamed").decode()
    spec = {"target": {"action": "test.echo"}, "documents": [{"mediaType": "text/plain", "sizeBytes": 8}]}
    message = {"items": [{"tag": 1, "start": {"spec": spec, "inlineDocuments": [document]}}]}
    async with world.runner():
        code, out, err = await grpcurl(world, "transom.runs.v1.RunService/Process", message=message)
    assert (code, err) == (0, "")
    assert document in out
    assert "RUN_STATE_SUCCEEDED" in out


async def test_an_error_says_what_to_do(world: World) -> None:
    async with world.runner():
        code, _, err = await grpcurl(world, "transom.runs.v1.RunService/Get", message={"name": "runs/abc"})
    assert code != 0
    assert "there is no such run; see `transom runs list`" in err


async def test_a_token_that_is_not_ours_is_refused(world: World) -> None:
    code, _, err = await grpcurl(world, "list", token="garbage")
    assert code != 0
    assert "the access token is not accepted" in err
