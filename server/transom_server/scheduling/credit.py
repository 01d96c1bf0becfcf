"""What each session may still be given: its runner's credit, pool by pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transom_server.scheduling.job import Need, Offer

if TYPE_CHECKING:
    from transom_server.scheduling.line import Entry

UNBOUNDED = float("inf")


class Account:
    """The credit of one pool of one session: cumulative totals granted, and used."""

    __slots__ = ("capacity_bytes", "granted_attempts", "granted_bytes", "held", "offer", "pool", "session", "used_attempts", "used_bytes")

    def __init__(self, session: str, pool: str, offer: Offer) -> None:
        self.session = session
        self.pool = pool
        self.offer = offer
        self.granted_attempts = 0
        self.granted_bytes = 0
        self.used_attempts = 0
        self.used_bytes = 0
        self.capacity_bytes = 0
        """The most bytes that were ever free: with these free, the runner is idle."""
        self.held: Entry | None = None
        """The overdue job that everything free here is kept for."""

    def grant(self, total_attempts: int, total_bytes: int) -> None:
        """Raise the totals to these; they never fall."""
        self.granted_attempts = max(self.granted_attempts, total_attempts)
        self.granted_bytes = max(self.granted_bytes, total_bytes)
        self.capacity_bytes = max(self.capacity_bytes, self.granted_bytes - self.used_bytes)

    def take(self, size_bytes: int) -> None:
        """Use credit for one attempt."""
        self.used_attempts += 1
        self.used_bytes += size_bytes

    @property
    def free_attempts(self) -> int:
        """How many attempts may still be given."""
        return self.granted_attempts - self.used_attempts

    @property
    def free_bytes(self) -> int:
        """How many bytes may still be given; none while a job larger than the runner has it to itself."""
        return max(0, self.granted_bytes - self.used_bytes)

    @property
    def room_bytes(self) -> float:
        """Say how large a job may be to be given now; negative for none.

        A job larger than all of a runner's memory gets an idle runner to itself: its documents are streamed.
        """
        if self.granted_attempts <= self.used_attempts:
            return -1
        free = self.granted_bytes - self.used_bytes
        return UNBOUNDED if free == self.capacity_bytes else free

    def meets(self, need: Need) -> bool:
        """Whether jobs with this need may be paid from here."""
        return need.pool in {"", self.pool} and self.offer.meets(need)


class Session:
    """One runner's session: its offer, and an account for each pool it has credit for."""

    __slots__ = ("accounts", "cordoned", "draining", "name", "offer")

    def __init__(self, name: str, offer: Offer) -> None:
        self.name = name
        self.offer = offer
        self.accounts = {offer.pool: Account(name, offer.pool, offer)}
        self.cordoned = False
        self.draining = False

    @property
    def closed(self) -> bool:
        """Whether it is given nothing, whatever its credit."""
        return self.cordoned or self.draining
