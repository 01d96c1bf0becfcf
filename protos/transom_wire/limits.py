"""Name every limit of the wire once; both ends take them from here."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

CHUNK_BYTES: Final = 256 * KIB
"""Best size of a chunk of a document or result."""

MAX_CHUNK_BYTES: Final = MIB
"""No chunk may be larger, so that no message comes near gRPC's 4 MiB."""

INLINE_BYTES: Final = 64 * KIB
"""Documents up to this size in all ride with the start of a run, and so does its result: no round trip, and no credit."""

ASSIGN_INLINE_BYTES: Final = MIB
"""Documents up to this size in all ride with an assignment on a runner's session, and so does the result, where the run has
reserved it: a stream of their own would cost more than the bytes."""

ASSIGN_INLINE_QUEUED_BYTES: Final = 8 * MIB
"""Once so much waits on a session, documents and results take the other connection, however small."""

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

PUSH_WINDOW_BYTES: Final = 2 * MIB
"""Bytes of an attempt's result that a runner pushes before they have left for the caller."""

RESULT_WINDOW_BYTES: Final = 4 * MIB
"""Result bytes that a caller takes before it grants more credit."""

MAX_DOCUMENT_BYTES: Final = 256 * MIB
"""Largest document, unless the server's configuration says less."""

MAX_MESSAGE_BYTES: Final = 4 * MIB
"""gRPC's own limit, kept as it is."""

MAX_TOKEN_BYTES: Final = 8 * KIB
"""Largest access token that is looked at."""
