"""Every option of channels and servers has a name that gRPC knows: a misspelt one would be ignored without a word."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from transom_wire.channel import client_options, server_options

LIBRARY = next(Path(grpc.__file__).parent.glob("_cython/cygrpc*.so")).read_bytes()


def unknown(names: list[str]) -> list[str]:
    return [name for name in names if name.encode() not in LIBRARY]


@pytest.mark.parametrize("options", [client_options(proxy=True), server_options()], ids=["client", "server"])
def test_grpc_knows_every_option(options: list[tuple[str, int | str]]) -> None:
    assert unknown([name for name, _ in options]) == []


def test_an_option_that_grpc_does_not_know_is_noticed() -> None:
    assert unknown(["grpc.http2.min_recv_ping_interval_without_data_ms"])
