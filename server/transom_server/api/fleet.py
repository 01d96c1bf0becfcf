"""`transom.runners.v1.FleetService` and `transom.plugins.v1.ActionService`: what operators and callers look up."""

from __future__ import annotations

from typing import Any

import grpc
from transom.plugins.v1 import action_service_pb2, action_service_pb2_grpc
from transom.runners.v1 import fleet_service_pb2, fleet_service_pb2_grpc
from transom_wire.errors import ActionUnknown, InvalidRequest

from transom_server.api.convert import action_message, timestamp
from transom_server.ledger.book import KnownRunner, Ledger
from transom_server.offers import Offers
from transom_server.sessions import RunnerSession, Sessions

Context = grpc.aio.ServicerContext[Any, Any]
DEFAULT_PAGE = 100
MAX_PAGE = 1000


class FleetService(fleet_service_pb2_grpc.FleetServiceServicer):
    """Which runners there are."""

    def __init__(self, sessions: Sessions, ledger: Ledger) -> None:
        self._sessions = sessions
        self._ledger = ledger

    async def ListRunners(self, request: fleet_service_pb2.ListRunnersRequest, context: Context) -> fleet_service_pb2.ListRunnersResponse:
        """List connected runners, and those that the ledger remembers."""
        known = {runner.runner: _remembered(runner) for runner in await self._ledger.list_runners()}
        known.update({session.runner: _connected(session) for session in self._sessions.by_runner.values()})
        names = sorted(name for name in known if name > request.page_token)
        size = page_size(request.page_size)
        token = names[size - 1] if len(names) > size else ""
        return fleet_service_pb2.ListRunnersResponse(runners=[known[name] for name in names[:size]], next_page_token=token)


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


def _connected(session: RunnerSession) -> fleet_service_pb2.Runner:
    status = fleet_service_pb2.RUNNER_STATUS_DRAINING if session.draining else fleet_service_pb2.RUNNER_STATUS_CONNECTED
    return fleet_service_pb2.Runner(
        name=f"runners/{session.runner}", hostname=session.hostname, status=status, pool=session.pool,
        actions=sorted(session.offer.actions), containment=session.containment, last_seen_time=timestamp(session.heard_at),  # type: ignore[arg-type]
        software=session.software, running=session.running, labels=session.labels,
    )  # fmt: skip


def _remembered(runner: KnownRunner) -> fleet_service_pb2.Runner:
    return fleet_service_pb2.Runner(
        name=f"runners/{runner.runner}", hostname=runner.hostname, status=fleet_service_pb2.RUNNER_STATUS_DISCONNECTED, pool=runner.pool,
        actions=runner.actions, containment=runner.containment, last_seen_time=timestamp(runner.last_seen_s), software=runner.software,  # type: ignore[arg-type]
    )  # fmt: skip
