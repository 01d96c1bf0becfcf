"""Name the states and levels of the protos as enums; the numbers are the wire's."""

from __future__ import annotations

from enum import IntEnum


class RunState(IntEnum):
    """Where a run stands, and how it ended; numbers as in transom.runs.v1.RunState."""

    UNKNOWN = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    DEADLINE_EXCEEDED = 6
    LOST = 7
    REJECTED = 8

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to the run."""
        return self >= RunState.SUCCEEDED


class SideEffects(IntEnum):
    """Whether an effect outside Transom may have happened; numbers as in transom.runs.v1.SideEffects."""

    UNKNOWN = 0
    NONE = 1
    POSSIBLE = 2


class Waiting(IntEnum):
    """Why a run waits; numbers as in transom.runs.v1.Queued.Reason."""

    UNKNOWN = 0
    NO_RUNNER = 1
    BUSY = 2
    MEMORY = 3
    LIMIT = 4


class Containment(IntEnum):
    """How strongly the processes that hold content are contained; numbers as in transom.runs.v1.ContainmentLevel."""

    UNSPECIFIED = 0
    NONE = 1
    LIMITS = 2
    SEALED_FILES = 3
    SEALED_HOST = 4


class Replay(IntEnum):
    """How documents can be sent again after a lost attempt; numbers as in transom.runs.v1.ReplayMode."""

    UNSPECIFIED = 0
    SERVER_MEMORY = 1
    CALLER = 2
    NONE = 3


class Persistence(IntEnum):
    """What a provider behind an action keeps; numbers as in transom.plugins.v1.Persistence."""

    UNSPECIFIED = 0
    NONE = 1
    DELETED_AFTER = 2
    RETAINED = 3


class ActionKind(IntEnum):
    """What an action does with documents; numbers as in transom.plugins.v1.ActionKind."""

    UNSPECIFIED = 0
    ENGINE = 1
    TRANSFORM = 2
    CONNECTOR = 3
    FLOW = 4


class RunnerStatus(IntEnum):
    """Whether a runner can be given work; numbers as in transom.runners.v1.RunnerStatus."""

    UNKNOWN = 0
    CONNECTED = 1
    DRAINING = 2
    DISCONNECTED = 3
    CORDONED = 4


class TextSource(IntEnum):
    """Where a page's text came from; numbers as in transom.documents.v1.TextSource."""

    UNKNOWN = 0
    DIGITAL = 1
    OCR = 2


class LengthUnit(IntEnum):
    """The unit of a page's size; numbers as in transom.documents.v1.LengthUnit."""

    UNKNOWN = 0
    PIXEL = 1
    POINT = 2
