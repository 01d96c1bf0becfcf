"""Set the options of every channel and server, each with the trap that it avoids."""

from __future__ import annotations

from typing import Final

from transom_wire.limits import MAX_MESSAGE_BYTES

Options = list[tuple[str, int | str]]

KEEPALIVE_MS: Final = 20_000
PING_TIMEOUT_MS: Final = 10_000
LOOKAHEAD_BYTES: Final = 1024 * 1024


def _both_ends() -> Options:
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # Without this a sender runs 18 MiB ahead of a slow reader.
        ("grpc.http2.bdp_probe", 0),
        # The window of a stream: with the default of 64 KiB a larger message waits for a round trip per window.
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
        # Keepalive alone leaves a stopped peer "connected" for a minute.
        ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def client_options(*, proxy: bool = False) -> Options:
    """Return the options of a channel; `proxy` says whether `https_proxy` of the environment is heeded."""
    return [
        *_both_ends(),
        # Channels with equal options would share one connection otherwise, and bulk would delay control.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", int(proxy)),
    ]


def server_options(*, max_streams: int = 1024) -> Options:
    """Return the options of a server."""
    return [
        *_both_ends(),
        # On by default: a second server would silently share the port.
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.max_concurrent_streams", max_streams),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.server_handshake_timeout_ms", 10_000),
    ]
