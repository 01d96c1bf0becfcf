"""Join a runner's session with the one before: what broke waits a while for its runner, and two at once are one too many."""

from __future__ import annotations

import asyncio
import logging

from transom.runners.v1 import session_pb2
from transom_wire.errors import SessionCloned

from transom_server.dispatch import Dispatch
from transom_server.sessions import RunnerSession, Sessions

log = logging.getLogger(__name__)


class Breaks:
    """The sessions that broke, one for each runner: their attempts may still be going on."""

    def __init__(self, dispatch: Dispatch, sessions: Sessions, grace_s: float) -> None:
        self._dispatch = dispatch
        self._sessions = sessions
        self._grace_s = grace_s
        self._broken: dict[str, tuple[RunnerSession, asyncio.TimerHandle]] = {}

    def leave(self, session: RunnerSession, *, may_return: bool) -> None:
        """Take a session that ended away; if its runner may return, what it had accepted waits for the grace."""
        waiting = self._dispatch.disconnect(session, may_return=may_return and self._grace_s > 0)
        if waiting:
            over = asyncio.get_running_loop().call_later(self._grace_s, self._over, session)
            self._broken[session.runner] = session, over
            log.info("session.broken", extra={"runner": session.runner, "session": session.id, "count": waiting})

    def join(self, session: RunnerSession, hello: session_pb2.Hello) -> None:
        """Put a session in the place of the one before, and welcome it.

        Raises:
            SessionCloned: Another start of the same runner is connected. It is refused as well.
        """
        older = self._sessions.by_runner.get(session.runner)
        if older is not None and older.boot_id != session.boot_id:
            log.warning("session.cloned", extra={"runner": session.runner, "session": older.id, "hostname": session.hostname})
            older.fail(SessionCloned())
            raise SessionCloned
        former = older or self._taken(session.runner)
        resumes = former.resumed_by(hello) if former is not None else None
        listed = [(one.fence.run, one.fence.attempt, one.fence.token) for one in hello.in_flight]
        keep = self._dispatch.adopt(former, session, listed if resumes else ()) if former is not None else frozenset()
        session.welcome(keep, [fence for fence in listed if fence not in keep], resumes=resumes)
        self._sessions.add(session)
        if older is not None:
            older.outbox.close()

    def _taken(self, runner: str) -> RunnerSession | None:
        session, over = self._broken.pop(runner, (None, None))
        if over is not None:
            over.cancel()
        return session

    def _over(self, session: RunnerSession) -> None:
        self._taken(session.runner)
        self._dispatch.lose(session)
