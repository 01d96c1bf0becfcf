"""What a caller can do wrong on the `Process` stream: each is refused, says what to do, and harms nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from transom.plugins.v1 import action_pb2
from transom.runs.v1 import run_pb2, run_service_pb2
from transom_wire.errors import TransomError
from transom_wire.limits import CHUNK_BYTES, INLINE_BYTES, MIB

from server.caller import Caller, calling, chunk, spec
from server.world import World, hang

MARKER = b"QZX-MARKER-7731"
SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
READER = action_pb2.Action(
    name="test.read", plugin="test", version="1", media_types=["image/png", "application/pdf"], persistence=action_pb2.PERSISTENCE_NONE,
    max_bytes=MIB,
)  # fmt: skip
NESTED = action_pb2.Action(
    name="test.nested", plugin="test", version="1", persistence=action_pb2.PERSISTENCE_NONE,
    parameters_schema='{"type": "object", "properties": {"page": {"type": "object", "properties": {"dpi": {"type": "integer"}}}}}',
)  # fmt: skip


@pytest.fixture
async def caller(world: World) -> AsyncIterator[Caller]:
    async with world.runner(), calling(world) as caller:
        yield caller


async def still_serves(caller: Caller) -> None:
    await caller.start_inline(1000, b"good")
    assert (await caller.outcome(1000)).state == SUCCEEDED
    assert caller.result(1000) == b"good"


async def check(caller: Caller, tag: int, reason: str) -> TransomError:
    """Wait for the run's failure; the message says something, and nothing of the content; the stream goes on."""
    error = await caller.failure(tag)
    assert error.reason == reason
    assert len(error.message) > 20
    assert MARKER not in (await caller.outcome(tag)).SerializeToString()
    await still_serves(caller)
    return error


async def test_an_empty_document_is_refused(caller: Caller) -> None:
    await caller.start(1, spec(0), [b""])
    error = await check(caller, 1, "INVALID_REQUEST")
    assert error.violations[0][0] == "documents.size_bytes"
    assert "greater than 0" in error.violations[0][1]


async def test_a_run_without_documents_is_refused(caller: Caller) -> None:
    await caller.start(1, spec())
    assert (await check(caller, 1, "INVALID_REQUEST")).violations[0][0] == "documents"


async def test_a_run_with_65_documents_is_refused(caller: Caller) -> None:
    await caller.start_inline(1, *[MARKER] * 65)
    assert (await check(caller, 1, "INVALID_REQUEST")).violations[0][0] == "documents"


async def test_a_run_with_64_documents_is_served(caller: Caller) -> None:
    await caller.start_inline(1, *[MARKER] * 64)
    assert (await caller.outcome(1)).state == SUCCEEDED


async def test_inline_documents_of_another_size_than_declared_are_refused(caller: Caller) -> None:
    await caller.start(1, spec(len(MARKER) + 1), [MARKER])
    await check(caller, 1, "SIZE_MISMATCH")


async def test_more_inline_documents_than_declared_are_refused(caller: Caller) -> None:
    await caller.start(1, spec(len(MARKER)), [MARKER, MARKER])
    await check(caller, 1, "SIZE_MISMATCH")


async def test_inline_documents_above_64_kib_are_refused(caller: Caller) -> None:
    document = MARKER * (INLINE_BYTES // len(MARKER) + 1)
    await caller.start_inline(1, document)
    assert "chunks" in (await check(caller, 1, "INVALID_REQUEST")).message


async def test_more_bytes_than_declared_end_the_run(caller: Caller) -> None:
    await caller.start(1, spec(CHUNK_BYTES))
    await caller.wait(1, "upload_credit")
    await caller.say(chunk(1, 0, bytes(CHUNK_BYTES - 1)), chunk(1, CHUNK_BYTES - 1, MARKER))
    await check(caller, 1, "SIZE_MISMATCH")


async def test_fewer_bytes_than_declared_end_the_run_at_half_close(world: World, caller: Caller) -> None:
    await caller.start(1, spec(CHUNK_BYTES))
    await caller.wait(1, "upload_credit")
    await caller.say(chunk(1, 0, MARKER))
    await caller.half_close()
    assert (await caller.failure(1)).reason == "SIZE_MISMATCH"
    assert await caller.end() is None
    async with calling(world) as other:
        await still_serves(other)


async def test_a_gap_between_chunks_ends_the_run(caller: Caller) -> None:
    await caller.start(1, spec(CHUNK_BYTES))
    await caller.wait(1, "upload_credit")
    await caller.say(chunk(1, 0, MARKER), chunk(1, len(MARKER) + 1, MARKER))
    await check(caller, 1, "CHUNK_OUT_OF_ORDER")


async def test_an_overlap_of_chunks_ends_the_run(caller: Caller) -> None:
    await caller.start(1, spec(CHUNK_BYTES))
    await caller.wait(1, "upload_credit")
    await caller.say(chunk(1, 0, MARKER), chunk(1, len(MARKER) - 1, MARKER))
    await check(caller, 1, "CHUNK_OUT_OF_ORDER")


async def test_a_chunk_of_a_document_that_was_not_declared_ends_the_run(caller: Caller) -> None:
    await caller.start(1, spec(CHUNK_BYTES))
    await caller.wait(1, "upload_credit")
    await caller.say(chunk(1, 0, MARKER, document=1))
    await check(caller, 1, "INVALID_REQUEST")


async def test_an_empty_chunk_ends_the_run(caller: Caller) -> None:
    await caller.start(1, spec(CHUNK_BYTES))
    await caller.wait(1, "upload_credit")
    await caller.say(chunk(1, 0, b""))
    await check(caller, 1, "INVALID_REQUEST")


async def test_a_chunk_above_1_mib_ends_the_run(caller: Caller) -> None:
    await caller.start(1, spec(2 * MIB))
    await caller.wait(1, "upload_credit")
    await caller.say(chunk(1, 0, bytes(MIB + 1)))
    await check(caller, 1, "INVALID_REQUEST")


async def test_a_chunk_without_credit_ends_the_run(world: World) -> None:
    async with world.runner(hang), calling(world) as caller:
        await caller.start(1, spec(3 * MIB, replay_mode=run_pb2.REPLAY_MODE_CALLER))
        credit = await caller.wait(1, "upload_credit")
        assert credit.total_bytes == MIB
        await caller.say(chunk(1, 0, bytes(MIB)))
        await caller.say(chunk(1, MIB, MARKER))
        assert (await caller.failure(1)).reason == "CREDIT_EXCEEDED"
        await caller.start_inline(2, b"good")
        await caller.wait(2, "attempt")


async def test_a_chunk_for_a_run_that_was_never_started_is_ignored(caller: Caller) -> None:
    await caller.say(chunk(77, 0, MARKER))
    await still_serves(caller)
    assert not caller.events[77]


async def test_a_declared_size_of_10_gb_is_refused_before_a_byte_moves(caller: Caller) -> None:
    await caller.start(1, spec(10 * 1024 * MIB))
    error = await check(caller, 1, "DOCUMENT_TOO_LARGE")
    assert int(error.metadata["max_bytes"]) == 256 * MIB
    assert caller.kinds(1) == ["outcome"]


async def test_declared_sizes_beyond_all_numbers_are_refused(caller: Caller) -> None:
    await caller.start(1, spec(*[2**64 - 1] * 64))
    await check(caller, 1, "DOCUMENT_TOO_LARGE")


async def test_an_unknown_action_is_refused(caller: Caller) -> None:
    await caller.start_inline(1, MARKER, action="test.unknown")
    assert "transom actions list" in (await check(caller, 1, "ACTION_UNKNOWN")).message


async def test_a_malformed_action_is_refused(caller: Caller) -> None:
    await caller.start_inline(1, b"x", action=f"{MARKER.decode()} ; drop")
    assert (await check(caller, 1, "INVALID_REQUEST")).violations[0][0] == "target.action"


async def test_a_run_without_a_target_is_refused(caller: Caller) -> None:
    await caller.start(1, run_pb2.RunSpec(documents=[run_pb2.DocumentSpec(media_type="a/b", size_bytes=1)]), [b"x"])
    assert (await check(caller, 1, "INVALID_REQUEST")).violations[0][0] == "target"


@pytest.mark.parametrize(
    ("parameters", "path", "text"),
    [
        ({"times": MARKER.decode()}, "parameters.times", 'must satisfy type: "integer"'),
        ({"times": 0}, "parameters.times", "must satisfy minimum: 1"),
        ({"times": float("nan")}, "parameters", "numbers must be finite"),
        ({"other": MARKER.decode()}, "parameters", "unknown parameter; the known ones are: times"),
    ],
)
async def test_bad_parameters_name_the_field_and_the_rule(caller: Caller, parameters: dict[str, Any], path: str, text: str) -> None:
    await caller.start_inline(1, b"x", parameters=parameters)
    error = await check(caller, 1, "BAD_PARAMETERS")
    assert error.violations == ((path, text),)


async def test_a_bad_nested_parameter_is_named_by_its_whole_path(world: World) -> None:
    async with world.runner(actions=(NESTED,)), calling(world) as caller:
        await caller.start_inline(1, b"x", action="test.nested", parameters={"page": {"dpi": MARKER.decode()}})
        assert (await caller.failure(1)).violations[0][0] == "parameters.page.dpi"


async def test_a_media_type_that_the_action_does_not_take_is_refused(world: World) -> None:
    async with world.runner(actions=(READER,)), calling(world) as caller:
        await caller.start_inline(1, MARKER, action="test.read", media_type="text/plain")
        error = await caller.failure(1)
        await caller.start_inline(2, MARKER, action="test.read", media_type="image/png")
        assert (await caller.outcome(2)).state == SUCCEEDED
    assert error.reason == "MEDIA_TYPE_UNSUPPORTED"
    assert error.metadata["supported"] == "image/png,application/pdf"


async def test_a_document_above_the_action_s_own_limit_is_refused(world: World) -> None:
    async with world.runner(actions=(READER,)), calling(world) as caller:
        await caller.start(1, spec(MIB + 1, action="test.read", media_type="image/png"))
        error = await caller.failure(1)
    assert error.reason == "DOCUMENT_TOO_LARGE"
    assert error.metadata["max_bytes"] == str(MIB)


@pytest.mark.parametrize("media_type", ["", "text", "text/", "Text/Plain", f"text/plain; name={MARKER.decode()}", "a" * 200 + "/b"])
async def test_a_malformed_media_type_is_refused(caller: Caller, media_type: str) -> None:
    await caller.start_inline(1, b"x", media_type=media_type)
    assert (await check(caller, 1, "INVALID_REQUEST")).violations[0][0] == "documents.media_type"


async def test_a_digest_of_the_wrong_length_is_refused(caller: Caller) -> None:
    asked = spec(1)
    asked.documents[0].sha256 = MARKER
    await caller.start(1, asked, [b"x"])
    assert (await check(caller, 1, "INVALID_REQUEST")).violations[0][0] == "documents.sha256"


async def test_without_a_runner_the_run_waits_until_its_deadline(world: World) -> None:
    async with calling(world) as caller:
        await caller.start_inline(1, b"x", timeout_s=0.1)
        error = await caller.failure(1)
        assert caller.of(1, "queued")[0].reason == run_service_pb2.Queued.REASON_NO_RUNNER
        async with world.runner():
            await still_serves(caller)
    assert error.reason == "NO_RUNNER"
    assert "transom runners list" in error.message


@pytest.mark.parametrize("milliseconds", [0, -1, -(10**9)])
async def test_a_deadline_that_is_past_is_refused(caller: Caller, milliseconds: int) -> None:
    asked = spec(1)
    asked.timeout.FromMilliseconds(milliseconds)
    await caller.start(1, asked, [b"x"])
    await check(caller, 1, "DEADLINE_PAST")
    assert caller.kinds(1) == ["outcome"]


async def test_more_attempts_than_five_are_refused(caller: Caller) -> None:
    await caller.start_inline(1, b"x", max_attempts=6)
    assert (await check(caller, 1, "INVALID_REQUEST")).violations[0][0] == "max_attempts"


async def test_a_provider_that_keeps_more_than_allowed_is_refused(world: World) -> None:
    keeping = action_pb2.Action(name="test.keep", plugin="test", version="1", persistence=action_pb2.PERSISTENCE_RETAINED)
    silent_about_it = action_pb2.Action(name="test.unsaid", plugin="test", version="1")
    async with world.runner(actions=(keeping, silent_about_it)), calling(world) as caller:
        await caller.start_inline(1, b"x", action="test.keep")
        await caller.start_inline(2, b"x", action="test.unsaid")
        await caller.start_inline(3, b"x", action="test.keep", max_persistence=action_pb2.PERSISTENCE_RETAINED)
        assert (await caller.failure(1)).reason == "POLICY_REFUSED"
        assert (await caller.failure(2)).reason == "POLICY_REFUSED"
        assert (await caller.outcome(3)).state == SUCCEEDED


async def test_a_tag_that_is_in_use_ends_the_stream_and_nothing_else(world: World) -> None:
    async with world.runner(hang), calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        await caller.start_inline(1, b"x")
        error = await caller.end()
    async with world.runner(), calling(world) as other:
        await still_serves(other)
    assert error is not None
    assert error.reason == "INVALID_REQUEST"
    assert "tag" in error.message


@pytest.mark.parametrize("tag", [0, 3, 7], ids=["smaller than all", "not used before", "the last one"])
async def test_a_tag_that_is_not_larger_than_all_before_ends_the_stream(world: World, tag: int) -> None:
    async with world.runner(), calling(world) as caller:
        for used in (2, 7):
            await caller.start_inline(used, b"x")
            await caller.outcome(used)
        await caller.start_inline(tag, b"x")
        error = await caller.end()
    assert error is not None
    assert error.reason == "INVALID_REQUEST"
    assert "tag" in error.message
    assert [caller.kinds(used).count("outcome") for used in (2, 7)] == [1, 1]


async def test_a_first_tag_may_be_any(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        for tag in (0, 1, 2**32 - 1):
            await caller.start_inline(tag, b"x")
            assert (await caller.outcome(tag)).state == SUCCEEDED


async def test_an_item_that_says_nothing_is_ignored(caller: Caller) -> None:
    await caller.say(run_service_pb2.ProcessItem(tag=5))
    await still_serves(caller)


async def test_bytes_that_are_no_message_end_the_stream_only(world: World) -> None:
    channel = world.channel()
    process: Any = channel.stream_stream("/transom.runs.v1.RunService/Process")
    call = process(metadata=world.metadata())
    await call.write(b"\xff" + MARKER)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    async with world.runner(), calling(world) as other:
        await still_serves(other)
    assert MARKER.decode() not in str(caught.value)
