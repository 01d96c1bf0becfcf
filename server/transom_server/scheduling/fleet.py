"""The sessions that are connected, and which of their accounts is best for a job."""

from __future__ import annotations

from transom_server.scheduling.credit import Account, Session
from transom_server.scheduling.job import Job, Need, Offer

MOST_NEEDS = 1024
"""So many needs are remembered with who meets them: callers can think of any number."""


class Fleet:
    """Every session, by name."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._able: dict[Need, list[Account]] = {}

    def connect(self, session: str, offer: Offer) -> None:
        """Add a session."""
        self.sessions[session] = Session(session, offer)
        self.changed()

    def account(self, session: Session, pool: str) -> Account:
        """Return a session's account for a pool; no name means the pool that it offers."""
        name = pool or session.offer.pool
        account = session.accounts.get(name)
        if account is None:
            account = session.accounts[name] = Account(session.name, name, session.offer)
            self.changed()
        return account

    def changed(self) -> None:
        """Find out anew who meets what."""
        self._able.clear()

    def able(self, need: Need) -> list[Account]:
        """List the accounts that jobs with this need may be paid from, when there is room."""
        able = self._able.get(need)
        if able is None:
            if len(self._able) >= MOST_NEEDS:
                self._able.clear()
            opened = [session for session in self.sessions.values() if not session.closed]
            able = [account for session in opened for account in session.accounts.values() if account.meets(need)]
            self._able[need] = able
        return able

    def best(self, job: Job) -> Account | None:
        """Find the account for a job among those with room: not one it avoids, then preferred labels, then free attempts."""
        if job.avoid or job.prefer:
            return self._preferred(job)
        best, most, size_bytes = None, 0, job.size_bytes
        for account in self.able(job.need):
            # Account.room_bytes in line: this loop is most of what a job costs.
            attempts = account.granted_attempts - account.used_attempts
            if attempts > most and account.held is None:
                free = account.granted_bytes - account.used_bytes
                if free >= size_bytes or free == account.capacity_bytes:
                    best, most = account, attempts
        return best

    def _preferred(self, job: Job) -> Account | None:
        def order(account: Account) -> tuple[bool, int, int]:
            return account.session not in job.avoid, len(job.prefer & account.offer.labels), account.free_attempts

        fitting = [one for one in self.able(job.need) if one.held is None and one.room_bytes >= job.size_bytes]
        return max(fitting, key=order, default=None)
