"""Speak between daemon, executor and worker: length-capped msgspec messages over socket pairs, never pickle.

A frame is a head of two lengths, a message, and an attachment of raw bytes. Control sockets carry one message a packet,
and descriptors beside it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final, Literal

import msgspec
from transom_wire.limits import MIB

HEAD: Final = struct.Struct("<II")
MAX_MESSAGE_BYTES: Final = MIB
MAX_ATTACHMENT_BYTES: Final = 256 * MIB
MAX_PACKET_BYTES: Final = 64 * 1024
MAX_DESCRIPTORS: Final = 4
SOCKET_BYTES: Final = 4 * MIB


class FrameBroken(Exception):
    """The other end ended in the middle, or sent what is no frame."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised about one document."""

    index: int
    media_type: str
    size_bytes: int
    sha256: bytes = b""


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin"):
    """Opens a call: what to do, on what, within which bounds."""

    action: str
    parameters: dict[str, Any]
    time_left_s: float
    documents: list[Head]
    max_pages: int
    max_pixels: int
    max_bytes: int


class Chunk(msgspec.Struct, frozen=True, kw_only=True, tag="chunk"):
    """The next bytes of a document, attached."""

    document: int


class Pixels(msgspec.Struct, frozen=True, kw_only=True, tag="pixels"):
    """A page as an image, attached; either way."""

    document: int
    page: int
    width: int
    height: int
    channels: int
    dpi: int
    page_width: float
    page_height: float
    unit: Literal["pixel", "point"]
    rotation: int
    pages: int


class End(msgspec.Struct, frozen=True, tag="end"):
    """Says that no more inputs come."""


class PageRead(msgspec.Struct, frozen=True, kw_only=True, tag="page"):
    """A page's result: a serialised `transom.documents.v1.Page`, attached."""

    document: int
    page: int
    pages: int
    engine: str
    reason: str = ""
    """Why the page could not be read; empty when it was."""


class PartMade(msgspec.Struct, frozen=True, kw_only=True, tag="part"):
    """Another result, attached."""

    document: int
    media_type: str


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """How far a call is."""

    done: int
    total: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """How a call ended."""

    reason: str = ""
    """Empty when it succeeded."""


Frame = Begin | Chunk | Pixels | End | PageRead | PartMade | Report | Finished


class Fork(msgspec.Struct, frozen=True, kw_only=True, tag="fork"):
    """Asks a template for a process; its sockets come beside."""

    id: int
    memory_bytes: int
    cpu_seconds: int


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """Says that a template is warm, and what its sandbox was measured to hold."""

    containment: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Says why a template does not serve: a code, never text of a plugin."""

    reason: str


class Forked(msgspec.Struct, frozen=True, kw_only=True, tag="forked"):
    """Names a new process; its pidfd comes beside."""

    id: int
    pid: int


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag="exited"):
    """What wait4 told of a process that ended."""

    id: int
    status: int
    disk_write_blocks: int
    peak_rss_bytes: int
    cpu_time_s: float


class Want(msgspec.Struct, frozen=True, kw_only=True, tag="want"):
    """Asks the daemon for a worker, from an executor."""

    id: int
    action: str


class Given(msgspec.Struct, frozen=True, kw_only=True, tag="given"):
    """Answers with a worker's socket beside it."""

    id: int
    shares_pages: bool
    """Whether the worker may read several pages of the document."""


class Gone(msgspec.Struct, frozen=True, kw_only=True, tag="gone"):
    """Tells an executor why a worker ended, or could not be had."""

    id: int
    reason: str


Packet = Fork | Ready | Refused | Forked | Exited | Want | Given | Gone

_frames: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)
_packets: Final[msgspec.msgpack.Decoder[Packet]] = msgspec.msgpack.Decoder(Packet)
_encoder: Final = msgspec.msgpack.Encoder()

Bytes = bytes | bytearray | memoryview


def pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a data socket."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    return ends


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a control socket, which keeps packets apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(message: Frame, attached: int = 0) -> bytes:
    """Make the head and message of a frame; the attachment follows it."""
    body = _encoder.encode(message)
    return HEAD.pack(len(body), attached) + body


def _lengths(head: bytes) -> tuple[int, int]:
    message, attachment = HEAD.unpack(head)
    if message > MAX_MESSAGE_BYTES or attachment > MAX_ATTACHMENT_BYTES:
        raise FrameBroken
    return message, attachment


def _decode(body: bytes) -> Frame:
    try:
        return _frames.decode(body)
    except msgspec.MsgspecError:
        # Its text may quote a value.
        raise FrameBroken from None


class BlockingChannel:
    """A worker's end: it waits, since a worker has one thing to do."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, message: Frame, attachment: Bytes = b"") -> None:
        """Send a frame."""
        self._socket.sendall(encode(message, len(attachment)))
        if len(attachment):
            self._socket.sendall(attachment)

    def receive(self) -> tuple[Frame, bytearray]:
        """Wait for a frame.

        Raises:
            FrameBroken: The other end is gone, or sent no frame.
        """
        message, attachment = _lengths(bytes(self._exactly(HEAD.size)))
        return _decode(bytes(self._exactly(message))), self._exactly(attachment)

    def _exactly(self, size: int) -> bytearray:
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            count = self._socket.recv_into(view)
            if count == 0:
                raise FrameBroken
            view = view[count:]
        return buffer


class Channel:
    """The end of a daemon or an executor: asynchronous, and read only as fast as frames are asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Channel:
        """Make a channel of a socket, which it owns from then on."""
        sock.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=MIB))

    async def send(self, message: Frame, attachment: Bytes = b"") -> None:
        """Send a frame, as fast as the other end reads.

        Raises:
            FrameBroken: The other end is gone.
        """
        try:
            self._writer.write(encode(message, len(attachment)))
            if len(attachment):
                self._writer.write(attachment)
            await self._writer.drain()
        except (OSError, RuntimeError):
            raise FrameBroken from None

    async def receive(self) -> tuple[Frame, bytes]:
        """Wait for a frame.

        Raises:
            FrameBroken: The other end is gone, or sent no frame.
        """
        try:
            message, attachment = _lengths(await self._reader.readexactly(HEAD.size))
            body = _decode(await self._reader.readexactly(message))
            return body, await self._reader.readexactly(attachment) if attachment else b""
        except (asyncio.IncompleteReadError, OSError):
            raise FrameBroken from None

    def close(self) -> None:
        """Close the socket at once; what is not written yet is dropped."""
        self._writer.transport.abort()


def send_packet(sock: socket.socket, packet: Packet, descriptors: tuple[int, ...] = ()) -> None:
    """Send one packet on a control socket.

    Raises:
        FrameBroken: The other end is gone, or does not read.
    """
    try:
        socket.send_fds(sock, [_encoder.encode(packet)], list(descriptors))
    except OSError:
        raise FrameBroken from None


def receive_packet(sock: socket.socket) -> tuple[Packet, list[int]]:
    """Receive one packet and the descriptors beside it, which the receiver owns.

    Raises:
        FrameBroken: The other end is gone, or sent no packet.
        BlockingIOError: There is none yet, on a socket that does not block.
    """
    try:
        body, descriptors, _, _ = socket.recv_fds(sock, MAX_PACKET_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        raise
    except OSError:
        raise FrameBroken from None
    if not body:
        raise FrameBroken
    try:
        return _packets.decode(body), descriptors
    except msgspec.MsgspecError:
        raise FrameBroken from None
