"""Be a worker: take one call's inputs, let the plugin work, send its outputs, and end.

The process is thrown away afterwards, and the document with it.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType

from transom_plugin import Context, Document, Image, Input, Limits, LoadedPlugin, Output, Page, PluginError

from transom_runner import sandbox
from transom_runner.assembly import Assembly, DocumentBroken
from transom_runner.frames import Begin, BlockingChannel, End, Finished, FrameBroken, Head, PageRead, PartMade, Pixels, Report
from transom_runner.pages import serialised

REPORT_EVERY_S = 0.1


class _Flag:
    """Whether the call was cancelled: SIGTERM says so."""

    def __init__(self) -> None:
        self.up = False

    def raise_it(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        del number, frame
        self.up = True

    def is_up(self) -> bool:
        """Say whether the signal came."""
        return self.up


def server_of(plugin: LoadedPlugin) -> Callable[[list[socket.socket]], None]:
    """Return what a worker of this plugin does with its socket."""

    def serve(sockets: list[socket.socket]) -> None:
        sandbox.name("transom-worker")
        _Call(plugin, BlockingChannel(sockets[0])).run()

    return serve


class _Call:
    """One call of an action."""

    def __init__(self, plugin: LoadedPlugin, channel: BlockingChannel) -> None:
        self._plugin = plugin
        self._channel = channel
        self._broken = ""
        """Why a document is not what was promised: the reason, whatever the plugin makes of it."""
        self._reported = 0.0
        self._heard_all = False

    def run(self) -> None:
        """Do the call and tell how it ended; says nothing where nobody listens."""
        try:
            begin, _ = self._channel.receive()
            if isinstance(begin, Begin):
                reason = self._reason_of(begin)
                self._channel.send(Finished(self._broken or reason))
                self._hear_out()
        except (FrameBroken, OSError):
            return

    def _hear_out(self) -> None:
        """Take what is still on its way, until the other end has said all or leaves.

        Whoever is cut off while it speaks would take this process for crashed, and never see the answer.
        """
        while not self._heard_all:
            frame, _ = self._channel.receive()
            self._heard_all = isinstance(frame, End)

    def _reason_of(self, begin: Begin) -> str:
        try:
            for output in self._plugin.run(begin.action, self._inputs(begin), self._context(begin)):
                self._send(output)
        except PluginError as error:
            return error.reason
        except MemoryError:
            return "OUT_OF_MEMORY"
        except OSError:
            # Sending failed: the other end is gone. A plugin's own file error ends here too, since none may happen.
            return "PLUGIN_FAILED"
        except Exception:  # noqa: BLE001  # a plugin's text never leaves the process
            return "PLUGIN_FAILED"
        return ""

    def _context(self, begin: Begin) -> Context:
        flag = _Flag()
        signal.signal(signal.SIGTERM, flag.raise_it)
        return Context(
            parameters=begin.parameters,
            deadline=time.monotonic() + begin.time_left_s,
            limits=Limits(max_bytes=begin.max_bytes, max_pages=begin.max_pages, max_pixels=begin.max_pixels),
            is_cancelled=flag.is_up,
            report=self._report,
        )

    def _report(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY_S:
            self._reported = now
            self._channel.send(Report(done=done, total=total))

    # What comes in.

    def _inputs(self, begin: Begin) -> Iterator[Input]:
        for head in begin.documents:
            yield self._document(head)
        while True:
            frame, attachment = self._channel.receive()
            if isinstance(frame, End):
                self._heard_all = True
                return
            if not isinstance(frame, Pixels):
                raise FrameBroken
            yield _image(frame, attachment)

    def _document(self, head: Head) -> Document:
        assembly = Assembly(head)
        try:
            while not assembly.complete:
                assembly.add(*self._channel.receive())
            assembly.check()
        except DocumentBroken as broken:
            self._broken = broken.reason
            raise PluginError from None
        return Document(index=head.index, media_type=head.media_type, data=assembly.whole())

    # What goes out.

    def _send(self, output: Output) -> None:
        if isinstance(output, Page):
            self._send_page(output)
        elif isinstance(output, Image):
            self._channel.send(_pixels(output), output.data)
        else:
            self._channel.send(PartMade(document=output.document, media_type=output.media_type), output.data)

    def _send_page(self, page: Page) -> None:
        reason = page.error.reason if page.error is not None else ""
        head = PageRead(document=page.document, page=page.number, pages=page.pages, engine=page.engine, reason=reason)
        self._channel.send(head, b"" if reason else serialised(page))


def _image(frame: Pixels, data: bytearray) -> Image:
    if len(data) != frame.width * frame.height * frame.channels:
        raise FrameBroken
    return Image(
        document=frame.document, page=frame.page, width=frame.width, height=frame.height, channels=frame.channels, dpi=frame.dpi,
        data=memoryview(data), page_width=frame.page_width, page_height=frame.page_height, unit=frame.unit,
        rotation=frame.rotation, pages=frame.pages,
    )  # fmt: skip


def _pixels(image: Image) -> Pixels:
    return Pixels(
        document=image.document, page=image.page, width=image.width, height=image.height, channels=image.channels, dpi=image.dpi,
        page_width=image.page_width, page_height=image.page_height, unit=image.unit, rotation=image.rotation, pages=image.pages,
    )  # fmt: skip
