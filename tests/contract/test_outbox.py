"""The outbox keeps its order and its bounds, whatever is put in."""

from __future__ import annotations

import asyncio

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from transom_wire.limits import ENVELOPE_BYTES, ENVELOPE_ITEMS, INLINE_BYTES
from transom_wire.outbox import Outbox, OutboxFull

SIZES = st.one_of(st.just(0), st.integers(0, 300), st.integers(INLINE_BYTES - 1, INLINE_BYTES + 1), st.integers(0, 2 * ENVELOPE_BYTES))
PUTS = st.lists(st.tuples(SIZES, st.booleans()), max_size=200)
Item = tuple[int, int, bool]


async def filled(puts: list[tuple[int, bool]]) -> list[list[Item]]:
    """Put everything, close, and take every envelope."""
    outbox: Outbox[Item] = Outbox(max_items=1000, max_bytes=1 << 40)
    for number, (size, urgent) in enumerate(puts):
        outbox.put((number, size, urgent), size, urgent=urgent)
    outbox.close()
    envelopes = []
    while taken := await outbox.take():
        envelopes.append(taken)
    assert len(outbox) == 0
    assert outbox.queued_bytes == 0
    return envelopes


@given(puts=PUTS)
@settings(deadline=None)
def test_everything_leaves_once_urgent_items_first_and_each_kind_in_order(puts: list[tuple[int, bool]]) -> None:
    out = [item for envelope in asyncio.run(filled(puts)) for item in envelope]
    given_items = [(number, size, urgent) for number, (size, urgent) in enumerate(puts)]
    assert out == [item for item in given_items if item[2]] + [item for item in given_items if not item[2]]


@given(puts=PUTS)
@settings(deadline=None)
def test_an_envelope_keeps_its_bounds_and_a_large_item_goes_alone(puts: list[tuple[int, bool]]) -> None:
    for envelope in asyncio.run(filled(puts)):
        sizes = [size for _, size, _ in envelope]
        assert 1 <= len(envelope) <= ENVELOPE_ITEMS
        assert sum(sizes) <= ENVELOPE_BYTES or len(envelope) == 1
        assert max(sizes) <= INLINE_BYTES or len(envelope) == 1


@given(puts=PUTS, max_items=st.integers(1, 50), max_bytes=st.integers(1, 3 * ENVELOPE_BYTES))
@settings(deadline=None)
def test_the_bounds_hold_and_what_is_refused_leaves_no_trace(puts: list[tuple[int, bool]], max_items: int, max_bytes: int) -> None:
    outbox: Outbox[int] = Outbox(max_items=max_items, max_bytes=max_bytes)
    kept: list[int] = []
    for size, urgent in puts:
        try:
            outbox.put(size, size, urgent=urgent)
            kept.append(size)
        except OutboxFull:
            assert len(kept) == max_items or sum(kept) + size > max_bytes
        assert len(outbox) == len(kept) <= max_items
        # One item may be larger than the bound, or it could never leave.
        assert outbox.queued_bytes == sum(kept) <= max(max_bytes, kept[0] if kept else 0, max(kept, default=0))


async def test_a_lone_item_leaves_at_once() -> None:
    outbox: Outbox[str] = Outbox(max_items=10, max_bytes=10)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.put("lone")
    async with asyncio.timeout(5):
        assert await taking == ["lone"]


async def test_what_queues_up_during_a_write_leaves_together() -> None:
    outbox: Outbox[int] = Outbox(max_items=100, max_bytes=100)
    for number in range(5):
        outbox.put(number)
    assert await outbox.take() == [0, 1, 2, 3, 4]


async def test_a_writer_that_waits_ends_when_the_outbox_is_closed() -> None:
    outbox: Outbox[int] = Outbox(max_items=10, max_bytes=10)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.close()
    outbox.put(1)
    async with asyncio.timeout(5):
        assert await taking == []


async def test_what_was_queued_before_the_close_still_leaves() -> None:
    outbox: Outbox[int] = Outbox(max_items=10, max_bytes=10)
    outbox.put(1)
    outbox.close()
    outbox.put(2)
    assert await outbox.take() == [1]
    assert await outbox.take() == []


def test_a_full_outbox_says_so_and_has_room_again_after_a_take() -> None:
    async def scenario() -> None:
        outbox: Outbox[int] = Outbox(max_items=1, max_bytes=10)
        outbox.put(1)
        with pytest.raises(OutboxFull):
            outbox.put(2)
        await outbox.take()
        outbox.put(3)
        assert await outbox.take() == [3]

    asyncio.run(scenario())


async def test_an_item_that_nobody_waits_for_rides_along_with_the_next() -> None:
    outbox: Outbox[str] = Outbox(max_items=10, max_bytes=10)
    outbox.put("rides", rides=True)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.put("goes")
    assert await taking == ["rides", "goes"]


async def test_an_item_that_nobody_waits_for_leaves_by_itself_when_nothing_follows() -> None:
    outbox: Outbox[str] = Outbox(max_items=10, max_bytes=10)
    for item in ("first", "second"):
        outbox.put(item, rides=True)
        async with asyncio.timeout(5):
            assert await outbox.take() == [item]


async def test_an_item_that_nobody_waits_for_leaves_when_the_outbox_is_closed() -> None:
    outbox: Outbox[str] = Outbox(max_items=10, max_bytes=10)
    outbox.put("rides", rides=True)
    outbox.close()
    assert [await outbox.take(), await outbox.take()] == [["rides"], []]
