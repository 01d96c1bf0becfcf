"""Look up runs, follow them and cancel them: `client.runs`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

import grpc
from transom.runs.v1 import run_service_pb2

from transom_client.connection import Connection
from transom_client.failures import error_of
from transom_client.records import Run, run_of
from transom_client.states import RunState

WATCH_WITHIN_S: Final = 3600.0
PAGE: Final = 100


class Runs:
    """The runs that the server remembers; names are `runs/{run}`, and the id alone will do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(self, *, limit: int = 50, states: Sequence[RunState] = (), action: str = "") -> AsyncGenerator[Run, None]:
        """Yield runs, newest first, up to `limit`."""
        token, left = "", limit
        while left > 0:
            request = run_service_pb2.ListRequest(
                page_size=min(left, PAGE), page_token=token, states=[int(state) for state in states], action=action  # type: ignore[misc]
            )  # fmt: skip
            answer = await self._connection.ask(self._connection.runs.List, request)
            for run in answer.runs:
                yield run_of(run)
            left -= len(answer.runs)
            token = answer.next_page_token
            if not token:
                return

    async def get(self, name: str) -> Run:
        """Return one run.

        Raises:
            RunUnknown: There is none of this name.
        """
        answer = await self._connection.ask(self._connection.runs.Get, run_service_pb2.GetRequest(name=full_name(name)))
        return run_of(answer.run)

    async def cancel(self, name: str) -> bool:
        """Cancel a run; returns whether it was live.

        Raises:
            RunUnknown: There is none of this name.
        """
        answer = await self._connection.ask(self._connection.runs.Cancel, run_service_pb2.CancelRequest(name=full_name(name)))
        return answer.was_live

    async def watch(self, name: str, *, within_s: float = WATCH_WITHIN_S) -> AsyncGenerator[Run, None]:
        """Yield a run whenever it changed; the last one has ended.

        Raises:
            RunUnknown: There is none of this name.
            DeadlineExceeded: It did not end in time.
        """
        metadata = await self._connection.metadata()
        call = self._connection.runs.Watch(run_service_pb2.WatchRequest(name=full_name(name)), metadata=metadata, timeout=within_s)
        try:
            async for response in call:
                for run in response.runs:
                    yield run_of(run)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None
        finally:
            call.cancel()


def full_name(name: str) -> str:
    """Return the resource name of a run, given it or the id alone."""
    return name if "/" in name else f"runs/{name}"
