"""Name every limit of the wire once; both ends take them from here."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

CHUNK_BYTES: Final = 256 * KIB
"""Best size of a chunk of a document or result."""

MAX_CHUNK_BYTES: Final = MIB
"""No chunk may be larger, so that no message comes near gRPC's 4 MiB."""

INLINE_BYTES: Final = 64 * KIB
"""Documents (and results) up to this size in all ride on the control stream: no second round trip, and no credit."""

UNARY_BYTES: Final = 3 * MIB
"""Documents of one `ProcessInline` call, and its result."""

ENVELOPE_ITEMS: Final = 64
"""Items of one envelope at most."""

ENVELOPE_BYTES: Final = 256 * KIB
"""Payload bytes after which an envelope is closed."""

SERVER_MEMORY_BYTES: Final = 32 * MIB
"""Largest run whose documents the server holds for replay unless told otherwise."""

RELAY_WINDOW_BYTES: Final = MIB
"""Bytes in flight of a run whose documents the server only relays."""

RESULT_WINDOW_BYTES: Final = 4 * MIB
"""Result bytes that a caller takes before it grants more credit."""

MAX_DOCUMENT_BYTES: Final = 256 * MIB
"""Largest document, unless the server's configuration says less."""

MAX_MESSAGE_BYTES: Final = 4 * MIB
"""gRPC's own limit, kept as it is."""

MAX_TOKEN_BYTES: Final = 8 * KIB
"""Largest access token that is looked at."""
