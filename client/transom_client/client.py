"""The SDK's front door: `async with Client() as client: async for event in client.process(...)`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Self

from transom.plugins.v1 import action_service_pb2
from transom.runners.v1 import fleet_service_pb2

from transom_client import profile as profiles
from transom_client.connection import Connection
from transom_client.documents import Given, several
from transom_client.events import Accepted, AttemptStarted, Ended, Event, Outcome, PageDone, PartDone
from transom_client.profile import Profile
from transom_client.records import Action, QueueRow, Runner, action_of, queue_row_of, runner_of
from transom_client.request import Parameter, Request
from transom_client.runs import Runs
from transom_client.states import Containment, Persistence, Replay
from transom_client.submission import Submission

DEFAULT_ACTION = "ocr.auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole run: its outcome and what it read."""

    run: str
    """Resource name; empty when the run was refused."""
    outcome: Outcome
    pages: tuple[PageDone, ...] = field(repr=False)
    """In order of document and page."""
    parts: tuple[PartDone, ...] = field(repr=False)
    """Parts that are not pages, in the order in which they came."""

    def check(self) -> Self:
        """Return the result itself.

        Raises:
            TransomError: The run did not succeed.
        """
        if self.outcome.error is not None:
            raise self.outcome.error
        return self

    def text(self, document: int = 0) -> str:
        """Return the text of a document, its pages separated by form feeds."""
        return "\f".join(one.page.text for one in self.pages if one.document == document)


class Client:
    """One connection to one server; many runs at once go over one stream of it."""

    def __init__(self, profile: Profile | str | None = None, *, proxy: bool = False) -> None:
        """Choose a server.

        Args:
            profile: The profile, or its name; by default that of TRANSOM_PROFILE, else a live `dev`.
            proxy: Whether `https_proxy` of the environment is heeded.
        """
        self._given = profile
        self._proxy = proxy
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        profile = self._given if isinstance(self._given, Profile) else profiles.select(self._given)[1]
        self._connection = Connection(profile, proxy=self._proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @property
    def connection(self) -> Connection:
        """The open connection."""
        if self._connection is None:
            raise RuntimeError("the client is not open; use `async with Client() as client`")
        return self._connection

    @property
    def runs(self) -> Runs:
        """The runs that the server remembers."""
        return Runs(self.connection)

    async def process(
        self, documents: Given | Sequence[Given], *, action: str = DEFAULT_ACTION, parameters: Mapping[str, Parameter] | None = None,
        timeout_s: float = 300.0, min_containment: Containment = Containment.UNSPECIFIED,
        max_persistence: Persistence = Persistence.UNSPECIFIED, zone: str = "", replay: Replay = Replay.UNSPECIFIED,
        max_attempts: int = 0, resend: bool | None = None, idempotency_key: str = "", detach_grace_s: float = 0.0,
    ) -> AsyncGenerator[Event, None]:  # fmt: skip
        """Run an action on documents and yield what happens, page by page; `Ended` comes last.

        Leaving the loop early cancels the run: at once with `contextlib.aclosing`, else when the iterator is collected.

        Args:
            documents: One document or several: bytes, a path, an opener, or a `Document` with its media type.
            action: What to run.
            parameters: Parameters of the action.
            timeout_s: How long the run may take from acceptance.
            min_containment: The weakest containment that will do.
            max_persistence: The most that a provider behind the action may keep.
            zone: The zone that documents may not leave.
            replay: How documents can be sent again after a lost attempt; the server decides by default.
            max_attempts: How many attempts at most.
            resend: Whether the run may be sent again after the connection broke; by default if its action is idempotent.
            idempotency_key: A name of the caller's own for the run: under one key one run is started in a tenant. A live run with
                the same settings is joined; one that has ended is told as `RunExists`.
            detach_grace_s: How long the run goes on when the connection is lost. It is attached to again meanwhile, unseen.

        Raises:
            TransomError: The server cannot be reached or refuses the caller. How a run ended is an event, not an error.
        """
        request = Request(
            action=action, parameters=parameters or {}, timeout_s=timeout_s, min_containment=min_containment,
            max_persistence=max_persistence, zone=zone, replay=replay, max_attempts=max_attempts, resend=resend,
            idempotency_key=idempotency_key, detach_grace_s=detach_grace_s,
        )  # fmt: skip
        async with aclosing(Submission(self.connection, request, several(documents)).events()) as events:
            async for event in events:
                yield event

    async def run(self, documents: Given | Sequence[Given], **settings: Any) -> Result:
        """Run an action on documents and return everything; settings are those of `process`.

        Raises:
            TransomError: The server cannot be reached or refuses the caller.
        """
        name = ""
        pages: dict[tuple[int, int], PageDone] = {}
        parts: list[PartDone] = []
        async with aclosing(self.process(documents, **settings)) as events:
            async for event in events:
                if isinstance(event, Accepted):
                    name = event.run
                elif isinstance(event, AttemptStarted):
                    pages.clear()
                    parts.clear()
                elif isinstance(event, PageDone):
                    pages[event.document, event.page.number] = event
                elif isinstance(event, PartDone):
                    parts.append(event)
                elif isinstance(event, Ended):
                    ordered = tuple(pages[key] for key in sorted(pages))
                    return Result(run=name, outcome=event.outcome, pages=ordered, parts=tuple(parts))
        raise AssertionError("a run has exactly one outcome")

    async def runners(self) -> list[Runner]:
        """List the runners that the server knows."""
        runners: list[Runner] = []
        request = fleet_service_pb2.ListRunnersRequest()
        while True:
            answer = await self.connection.ask(self.connection.fleet.ListRunners, request)
            runners += map(runner_of, answer.runners)
            if not answer.next_page_token:
                return runners
            request.page_token = answer.next_page_token

    async def cordon(self, runner: str) -> Runner:
        """Give a runner nothing new until `uncordon`.

        Raises:
            RunnerUnknown: None of this id is connected.
        """
        request = fleet_service_pb2.CordonRunnerRequest(name=_runner_name(runner))
        return runner_of((await self.connection.ask(self.connection.fleet.CordonRunner, request)).runner)

    async def uncordon(self, runner: str) -> Runner:
        """Lift a runner's cordon.

        Raises:
            RunnerUnknown: None of this id is connected.
        """
        request = fleet_service_pb2.UncordonRunnerRequest(name=_runner_name(runner))
        return runner_of((await self.connection.ask(self.connection.fleet.UncordonRunner, request)).runner)

    async def drain(self, runner: str) -> Runner:
        """Give a runner nothing new for as long as its session lasts.

        Raises:
            RunnerUnknown: None of this id is connected.
        """
        request = fleet_service_pb2.DrainRunnerRequest(name=_runner_name(runner))
        return runner_of((await self.connection.ask(self.connection.fleet.DrainRunner, request)).runner)

    async def queue(self) -> list[QueueRow]:
        """List what waits for runners, of this caller's tenant."""
        answer = await self.connection.ask(self.connection.fleet.ListQueue, fleet_service_pb2.ListQueueRequest())
        return [queue_row_of(row) for row in answer.rows]

    async def actions(self) -> list[Action]:
        """List the actions that connected runners offer."""
        actions: list[Action] = []
        request = action_service_pb2.ListActionsRequest()
        while True:
            answer = await self.connection.ask(self.connection.actions.ListActions, request)
            actions += map(action_of, answer.actions)
            if not answer.next_page_token:
                return actions
            request.page_token = answer.next_page_token

    async def action(self, name: str) -> Action:
        """Describe one action.

        Raises:
            ActionUnknown: No connected runner offers it.
        """
        request = action_service_pb2.GetActionRequest(name=f"actions/{name}")
        answer = await self.connection.ask(self.connection.actions.GetAction, request)
        return action_of(answer.action)


def _runner_name(runner: str) -> str:
    return runner if "/" in runner else f"runners/{runner}"
