"""Write PDF files by hand, so that a sample is exactly what its test needs."""

from __future__ import annotations

import hashlib
import zlib

A4 = (595, 842)
"""Points."""
LINE_POINTS = 20
PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
"""PDF 1.7 (ISO 32000-1), algorithm 2, step a."""
PERMISSIONS = -4


class PdfWriter:
    """Objects in the order of their numbers; 1 is the catalog and 2 the root of the pages."""

    def __init__(self, password: str | None = None) -> None:
        self._objects: list[bytes] = [b"", b""]
        self._pages: list[int | None] = []
        self._font = 0
        self._lock = Lock(password) if password is not None else None

    def text_page(self, lines: list[tuple[float, float, str]], *, size: int = 11, extra: str = "", box: tuple[int, int] = A4) -> None:
        """Add a page with a text layer: (x, y from the bottom, text)."""
        self._font = self._font or self.add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
        shown = "".join(f"BT /F1 {size} Tf {x} {y} Td ({escaped(text)}) Tj ET\n" for x, y, text in lines)
        content = self.stream("", shown.encode("cp1252"))
        self.page(f"/Resources << /Font << /F1 {self._font} 0 R >> >> /Contents {content} 0 R {extra}", box)

    def image_page(self, width: int, height: int, data: bytes, *, jpeg: bool, box: tuple[int, int] = A4) -> None:
        """Add a page that is one grey picture: JPEG, or rows of bytes."""
        kind = "/Filter /DCTDecode" if jpeg else "/Filter /FlateDecode"
        picture = self.stream(
            f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceGray /BitsPerComponent 8 {kind}",
            data if jpeg else zlib.compress(data, 1),
        )
        content = self.stream("", f"q {box[0]} 0 0 {box[1]} 0 0 cm /Im1 Do Q".encode())
        self.page(f"/Resources << /XObject << /Im1 {picture} 0 R >> >> /Contents {content} 0 R", box)

    def page(self, entries: str = "", box: tuple[float, float] = A4) -> None:
        """Add a page, blank where nothing else is said."""
        self._pages.append(self.add(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {box[0]} {box[1]}] {entries} >>".encode()))

    def missing_page(self) -> None:
        """Add a page that the file promises and does not have."""
        self._pages.append(None)

    def add(self, body: bytes) -> int:
        self._objects.append(body)
        return len(self._objects)

    def stream(self, entries: str, data: bytes) -> int:
        number = len(self._objects) + 1
        data = self._lock.closed(number, data) if self._lock else data
        return self.add(f"<< {entries} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream")

    def finished(self) -> bytes:
        """Return the whole file."""
        absent = len(self._objects) + 100
        kids = " ".join(f"{absent if number is None else number} 0 R" for number in self._pages)
        self._objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
        self._objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(self._pages)} >>".encode()
        trailer = "/Root 1 0 R"
        if self._lock:
            # The dictionary of the encryption is the one object whose strings stay as they are.
            trailer += f" /Encrypt {self.add(self._lock.dictionary())} 0 R /ID [<{self._lock.file_id.hex()}> <{self._lock.file_id.hex()}>]"
        pieces, offsets, at = [b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"], [], 15
        for number, body in enumerate(self._objects, start=1):
            piece = b"%d 0 obj\n%b\nendobj\n" % (number, body)
            offsets.append(at)
            pieces.append(piece)
            at += len(piece)
        size = len(self._objects) + 1
        table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        pieces.append(b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table))
        pieces.append(f"trailer\n<< /Size {size} {trailer} >>\nstartxref\n{at}\n%%EOF\n".encode())
        return b"".join(pieces)


class Lock:
    """The standard security handler, revision 2: as weak as can be, and as good as any to lock a reader out."""

    def __init__(self, password: str) -> None:
        padded = (password.encode("latin-1") + PADDING)[:32]
        self.file_id = hashlib.md5(b"sample").digest()
        self.owner = rc4(hashlib.md5(padded).digest()[:5], padded)
        self._key = hashlib.md5(padded + self.owner + PERMISSIONS.to_bytes(4, "little", signed=True) + self.file_id).digest()[:5]

    def closed(self, number: int, data: bytes) -> bytes:
        return rc4(hashlib.md5(self._key + number.to_bytes(3, "little") + b"\0\0").digest()[:10], data)

    def dictionary(self) -> bytes:
        user = rc4(self._key, PADDING)
        return f"<< /Filter /Standard /V 1 /R 2 /O <{self.owner.hex()}> /U <{user.hex()}> /P {PERMISSIONS} >>".encode()


def rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def column(lines: list[str], x: float = 60, top: float = 780, step: float = LINE_POINTS) -> list[tuple[float, float, str]]:
    """Place lines below each other."""
    return [(x, top - step * index, line) for index, line in enumerate(lines) if line]
