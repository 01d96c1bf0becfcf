"""A worker's end of its socket, without a process around it."""

from __future__ import annotations

import signal
import threading

import pytest
from transom_plugin.loading import load
from transom_runner import frames
from transom_runner.frames import Begin, BlockingChannel, Chunk, End, Finished, FrameBroken, Head
from transom_runner.worker_main import _Call
from transom_wire.limits import CHUNK_BYTES, MIB

GARBAGE = b"%PDF-1.7\n" + bytes(1000)
FOLLOWING = Head(index=1, media_type="application/pdf", size_bytes=8 * MIB)


class Daemon(threading.Thread):
    """The other end: it speaks to the end, and only then looks whether it was answered long ago."""

    def __init__(self, channel: BlockingChannel, *, leaves: bool = False) -> None:
        super().__init__(name="daemon's end")
        self._channel = channel
        self._leaves = leaves
        self.heard: list[object] = []

    def run(self) -> None:
        head = Head(index=0, media_type="application/pdf", size_bytes=len(GARBAGE))
        begin = Begin(
            action="pdf.pages", parameters={}, time_left_s=60.0, documents=[head, FOLLOWING], max_pages=10, max_pixels=10**6, max_bytes=MIB
        )  # fmt: skip
        try:
            self._channel.send(begin)
            self._channel.send(Chunk(document=0), GARBAGE)
            self.heard.append(self._channel.receive()[0])
            if self._leaves:
                return
            for _ in range(FOLLOWING.size_bytes // CHUNK_BYTES):
                self._channel.send(Chunk(document=1), bytes(CHUNK_BYTES))
            self._channel.send(End())
            self.heard.append("nothing was cut off")
        except (FrameBroken, OSError) as error:
            self.heard.append(error)


@pytest.fixture(autouse=True)
def _signals() -> object:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_worker_that_fails_early_hears_the_daemon_out() -> None:
    ours, theirs = frames.pair()
    with ours:
        daemon = Daemon(BlockingChannel(ours))
        daemon.start()
        with theirs:
            _Call(load("transom_plugin_pdf"), BlockingChannel(theirs)).run()
        daemon.join()
    assert daemon.heard == [Finished("DOCUMENT_DAMAGED"), "nothing was cut off"]


def test_a_worker_that_fails_early_ends_when_the_daemon_leaves() -> None:
    ours, theirs = frames.pair()
    with theirs:
        daemon = Daemon(BlockingChannel(ours), leaves=True)
        daemon.start()
        closing = threading.Thread(target=lambda: (daemon.join(), ours.close()), name="closes")
        closing.start()
        _Call(load("transom_plugin_pdf"), BlockingChannel(theirs)).run()
        closing.join()
    assert daemon.heard == [Finished("DOCUMENT_DAMAGED")]
