"""`transom.runners.v1.FleetService` and `transom.plugins.v1.ActionService`: what operators and callers look up."""

from __future__ import annotations

from typing import Any

import grpc
from transom.plugins.v1 import action_service_pb2, action_service_pb2_grpc
from transom.runners.v1 import fleet_service_pb2, fleet_service_pb2_grpc
from transom_wire.errors import ActionUnknown, InvalidRequest, RunnerUnknown

from transom_server.api.convert import action_message, duration, timestamp
from transom_server.dispatch import Dispatch
from transom_server.identity.caller import CURRENT
from transom_server.ledger.book import KnownRunner, Ledger
from transom_server.offers import Offers
from transom_server.sessions import RunnerSession, Sessions

Context = grpc.aio.ServicerContext[Any, Any]
DEFAULT_PAGE = 100
MAX_PAGE = 1000


class FleetService(fleet_service_pb2_grpc.FleetServiceServicer):
    """Which runners there are."""

    def __init__(self, sessions: Sessions, dispatch: Dispatch, ledger: Ledger) -> None:
        self._sessions = sessions
        self._dispatch = dispatch
        self._ledger = ledger

    async def ListRunners(self, request: fleet_service_pb2.ListRunnersRequest, context: Context) -> fleet_service_pb2.ListRunnersResponse:
        """List connected runners, and those that the ledger remembers."""
        known = {runner.runner: _remembered(runner) for runner in await self._ledger.list_runners()}
        known.update({session.runner: self._described(session) for session in self._sessions.by_runner.values()})
        names = sorted(name for name in known if name > request.page_token)
        size = page_size(request.page_size)
        token = names[size - 1] if len(names) > size else ""
        return fleet_service_pb2.ListRunnersResponse(runners=[known[name] for name in names[:size]], next_page_token=token)

    async def CordonRunner(
        self, request: fleet_service_pb2.CordonRunnerRequest, context: Context
    ) -> fleet_service_pb2.CordonRunnerResponse:
        """Give a runner nothing new until the cordon is lifted."""
        session = self._session(request.name)
        self._sessions.cordoned.add(session.runner)
        self._dispatch.cordon(session)
        return fleet_service_pb2.CordonRunnerResponse(runner=self._described(session))

    async def UncordonRunner(
        self, request: fleet_service_pb2.UncordonRunnerRequest, context: Context
    ) -> fleet_service_pb2.UncordonRunnerResponse:
        """Lift a cordon."""
        session = self._session(request.name)
        self._sessions.cordoned.discard(session.runner)
        self._dispatch.uncordon(session)
        return fleet_service_pb2.UncordonRunnerResponse(runner=self._described(session))

    async def DrainRunner(self, request: fleet_service_pb2.DrainRunnerRequest, context: Context) -> fleet_service_pb2.DrainRunnerResponse:
        """Give a runner nothing new for as long as its session lasts."""
        session = self._session(request.name)
        session.draining = True
        self._dispatch.drain_session(session)
        return fleet_service_pb2.DrainRunnerResponse(runner=self._described(session))

    async def ListQueue(self, request: fleet_service_pb2.ListQueueRequest, context: Context) -> fleet_service_pb2.ListQueueResponse:
        """Tell what waits, of the caller's tenant."""
        tenant = CURRENT.get().tenant
        rows = [
            fleet_service_pb2.QueueRow(action=row.action, tenant=row.tenant, depth=row.depth, oldest_age=duration(row.oldest_age_s))
            for row in self._dispatch.queue()
            if row.tenant == tenant
        ]
        return fleet_service_pb2.ListQueueResponse(rows=rows)

    def _session(self, name: str) -> RunnerSession:
        session = self._sessions.by_runner.get(name.removeprefix("runners/"))
        if session is None:
            raise RunnerUnknown
        return session

    def _described(self, session: RunnerSession) -> fleet_service_pb2.Runner:
        status = fleet_service_pb2.RUNNER_STATUS_CONNECTED
        if session.draining:
            status = fleet_service_pb2.RUNNER_STATUS_DRAINING
        elif session.runner in self._sessions.cordoned:
            status = fleet_service_pb2.RUNNER_STATUS_CORDONED
        return fleet_service_pb2.Runner(
            name=f"runners/{session.runner}", hostname=session.hostname, status=status, pool=session.pool,
            actions=sorted(session.offer.actions), containment=session.containment, last_seen_time=timestamp(session.heard_at),  # type: ignore[arg-type]
            software=session.software, running=session.running, labels=session.labels,
        )  # fmt: skip


class ActionService(action_service_pb2_grpc.ActionServiceServicer):
    """Which actions connected runners offer."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers

    async def ListActions(self, request: action_service_pb2.ListActionsRequest, context: Context) -> action_service_pb2.ListActionsResponse:
        """List the actions by name."""
        actions = [action for action in self._offers.offered() if action.name > request.page_token]
        size = page_size(request.page_size)
        token = actions[size - 1].name if len(actions) > size else ""
        return action_service_pb2.ListActionsResponse(actions=map(action_message, actions[:size]), next_page_token=token)

    async def GetAction(self, request: action_service_pb2.GetActionRequest, context: Context) -> action_service_pb2.GetActionResponse:
        """Describe one action."""
        action = self._offers.find(request.name.removeprefix("actions/"))
        if action is None:
            raise ActionUnknown
        return action_service_pb2.GetActionResponse(action=action_message(action))


def page_size(asked: int, default: int = DEFAULT_PAGE) -> int:
    """Bound a page size.

    Raises:
        InvalidRequest: It is negative.
    """
    if asked < 0:
        raise InvalidRequest(violations=[("page_size", "must not be negative")])
    return min(asked or default, MAX_PAGE)


def _remembered(runner: KnownRunner) -> fleet_service_pb2.Runner:
    return fleet_service_pb2.Runner(
        name=f"runners/{runner.runner}", hostname=runner.hostname, status=fleet_service_pb2.RUNNER_STATUS_DISCONNECTED, pool=runner.pool,
        actions=runner.actions, containment=runner.containment, last_seen_time=timestamp(runner.last_seen_s), software=runner.software,  # type: ignore[arg-type]
    )  # fmt: skip
