"""One channel to one server: its credentials, its stubs, and the one `Process` stream, opened when it is needed."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

import grpc
from transom.plugins.v1 import action_service_pb2_grpc
from transom.runners.v1 import fleet_service_pb2_grpc
from transom.runs.v1 import run_service_pb2_grpc
from transom_wire.channel import client_options
from transom_wire.credentials import channel_credentials

from transom_client.failures import error_of
from transom_client.profile import Profile
from transom_client.stream import ProcessStream
from transom_client.tokens import TokenSource

Response = TypeVar("Response")

ANSWER_WITHIN_S: Final = 10.0
MAX_RUNS: Final = 1000
"""Live runs on the stream at once; a server takes 1024. Further ones wait."""
_BACKOFF: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Connection:
    """Everything that a client has open."""

    def __init__(self, profile: Profile, *, proxy: bool = False) -> None:
        options = [*client_options(proxy=proxy), *_BACKOFF]
        self._channel = grpc.aio.secure_channel(profile.endpoint, channel_credentials(profile.tls()), options=options)
        self._tokens = TokenSource(profile)
        self._stream: ProcessStream | None = None
        self._opening = asyncio.Lock()
        self.runs = run_service_pb2_grpc.RunServiceStub(self._channel)
        self.fleet = fleet_service_pb2_grpc.FleetServiceStub(self._channel)
        self.actions = action_service_pb2_grpc.ActionServiceStub(self._channel)
        self.places = asyncio.Semaphore(MAX_RUNS)
        self.was_connected = False
        """Whether a stream to the server was ever open: a break may then be a restart."""

    async def stream(self) -> ProcessStream:
        """Return the open stream, or open one."""
        async with self._opening:
            if self._stream is not None and self._stream.failure is None:
                return self._stream
            if self._stream is not None:
                self.was_connected |= self._stream.connected
                await self._stream.close()
            call = self.runs.Process(metadata=await self._tokens.metadata())
            self._stream = ProcessStream(call)
            return self._stream

    async def ask(self, method: grpc.aio.UnaryUnaryMultiCallable[Any, Response], request: Any) -> Response:
        """Make a unary call.

        Raises:
            TransomError: What the server answered, or that it cannot be reached.
        """
        try:
            return await method(request, metadata=await self._tokens.metadata(), timeout=ANSWER_WITHIN_S)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None

    async def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that an RPC must carry."""
        return await self._tokens.metadata()

    async def close(self) -> None:
        """Close everything."""
        if self._stream is not None:
            await self._stream.close()
        await self._channel.close()
