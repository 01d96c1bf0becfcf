"""Define every error that crosses the wire, once.

Each class holds the gRPC `code`, the `reason` that programs compare, and, as its docstring, the message that people
read: lower case, no full stop, never content, a file name, a secret or a provider's text.

    TransomError
    ├── InvalidRequest          INVALID_ARGUMENT
    │   ├── BadParameters, MediaTypeUnsupported, MediaTypeMismatch, DigestMismatch, SizeMismatch, ChunkOutOfOrder
    │   └── DocumentEmpty, DocumentDamaged, DocumentEncrypted, PageUnreadable, KeyReused
    ├── Unauthenticated         UNAUTHENTICATED: TokenMissing, TokenInvalid, TokenExpired, CertificateRefused
    ├── PermissionDenied        PERMISSION_DENIED
    ├── NotFound                NOT_FOUND: ActionUnknown, RunUnknown, RunnerUnknown
    ├── RunExists               ALREADY_EXISTS; RunTakenOver: ABORTED
    ├── LimitExceeded           RESOURCE_EXHAUSTED
    │   └── DocumentTooLarge, ResultTooLarge, TooManyPages, TooManyPixels, TooManyRuns, MemoryExhausted, CreditExceeded, ConcurrencyExceeded
    ├── PolicyRefused           FAILED_PRECONDITION
    ├── DeadlineExceeded        DEADLINE_EXCEEDED: DeadlinePast, NoRunner
    ├── Cancelled               CANCELLED: Skipped, Superseded
    ├── Unavailable             UNAVAILABLE: ServerDraining, RunnerLost, RunLost, SessionCloned
    ├── AttemptFailed           ABORTED: a plugin's process ended badly
    │   └── PluginFailed, SecretMissing, ProviderFailed, RunnerRefused, Crashed, Killed, TimedOut, OutOfMemory, OutputTooLarge
    └── Internal                INTERNAL
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from grpc import StatusCode

DOMAIN: Final = "transom"


class TransomError(Exception):
    """the request failed"""

    code: ClassVar[StatusCode] = StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str | None = None, *, metadata: Mapping[str, str] | None = None, violations: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.message = message if message is not None else type(self).default_message()
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        super().__init__(self.message)

    @classmethod
    def default_message(cls) -> str:
        """Return the message for people: the class's docstring."""
        return (cls.__doc__ or "the request failed").strip()


class InvalidRequest(TransomError):
    """the request is not valid; see the field violations"""

    code = StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


class BadParameters(InvalidRequest):
    """a parameter does not fit the action's schema; see the field violations and `transom actions describe`"""

    reason = "BAD_PARAMETERS"


class KeyReused(InvalidRequest):
    """another run has this idempotency key; choose one key for each run, and repeat a run with the same settings"""

    reason = "IDEMPOTENCY_KEY_REUSED"


class MediaTypeUnsupported(InvalidRequest):
    """the action does not take documents of this media type; see `transom actions describe`"""

    reason = "MEDIA_TYPE_UNSUPPORTED"


class MediaTypeMismatch(InvalidRequest):
    """the bytes are not of the declared media type; declare the type that the file really has"""

    reason = "MEDIA_TYPE_MISMATCH"


class DocumentEmpty(InvalidRequest):
    """the document is empty: it has no bytes, or no pages; send one that has"""

    reason = "DOCUMENT_EMPTY"


class DigestMismatch(InvalidRequest):
    """the bytes do not have the declared sha256; read the file again and send it anew"""

    reason = "DIGEST_MISMATCH"


class SizeMismatch(InvalidRequest):
    """more or fewer bytes were sent than declared; declare the exact size"""

    reason = "SIZE_MISMATCH"


class ChunkOutOfOrder(InvalidRequest):
    """a chunk does not begin where the one before it ended; send chunks in order, without gap or overlap"""

    reason = "CHUNK_OUT_OF_ORDER"


class DocumentDamaged(InvalidRequest):
    """the document cannot be read: it is damaged or cut short; check that it opens elsewhere"""

    reason = "DOCUMENT_DAMAGED"


class DocumentEncrypted(InvalidRequest):
    """the document is protected by a password; send it without protection"""

    reason = "DOCUMENT_ENCRYPTED"


class PageUnreadable(InvalidRequest):
    """this page cannot be read; the others are not affected"""

    reason = "PAGE_UNREADABLE"


class Unauthenticated(TransomError):
    """who you are could not be established"""

    code = StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class TokenMissing(Unauthenticated):
    """an access token is needed; send `authorization: Bearer TOKEN` (`transom dev token` prints one)"""

    reason = "TOKEN_MISSING"


class TokenInvalid(Unauthenticated):
    """the access token is not accepted; get a new one"""

    reason = "TOKEN_INVALID"


class TokenExpired(Unauthenticated):
    """the access token has expired; get a new one"""

    reason = "TOKEN_EXPIRED"


class CertificateRefused(Unauthenticated):
    """the certificate is not of the kind that this method needs"""

    reason = "CERTIFICATE_REFUSED"


class PermissionDenied(TransomError):
    """your token does not carry a role that this method needs"""

    code = StatusCode.PERMISSION_DENIED
    reason = "ROLE_MISSING"


class NotFound(TransomError):
    """there is no such resource"""

    code = StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class ActionUnknown(NotFound):
    """no runner has ever offered this action; see `transom actions list`"""

    reason = "ACTION_UNKNOWN"


class RunUnknown(NotFound):
    """there is no such run; see `transom runs list`"""

    reason = "RUN_UNKNOWN"


class RunnerUnknown(NotFound):
    """no such runner is connected; see `transom runners list`"""

    reason = "RUNNER_UNKNOWN"


class RunExists(TransomError):
    """a run with this idempotency key has its result behind it, which is not kept; see the metadata for how it stands"""

    code = StatusCode.ALREADY_EXISTS
    reason = "RUN_EXISTS"


class RunTakenOver(TransomError):
    """another caller follows the run from here on; it goes on, and `transom runs get` tells how it ends"""

    code = StatusCode.ABORTED
    reason = "RUN_TAKEN_OVER"


class LimitExceeded(TransomError):
    """a limit was exceeded"""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = "LIMIT_EXCEEDED"


class DocumentTooLarge(LimitExceeded):
    """the document is larger than allowed; split it, or ask the operator to raise the limit"""

    reason = "DOCUMENT_TOO_LARGE"


class TooManyPages(LimitExceeded):
    """the document has more pages than allowed; split it, or select pages with the parameter `pages`"""

    reason = "TOO_MANY_PAGES"


class TooManyPixels(LimitExceeded):
    """the image has more pixels than allowed; scan at a lower resolution"""

    reason = "TOO_MANY_PIXELS"


class ResultTooLarge(LimitExceeded):
    """the result is too large for one unary call; use the `Process` stream"""

    reason = "RESULT_TOO_LARGE"


class MemoryExhausted(LimitExceeded):
    """the server's memory budget is used up; try again later"""

    reason = "MEMORY_EXHAUSTED"


class CreditExceeded(LimitExceeded):
    """more bytes were sent than were granted; wait for credit"""

    reason = "CREDIT_EXCEEDED"


class TooManyRuns(LimitExceeded):
    """too many runs are open at once; wait for some to end"""

    reason = "TOO_MANY_RUNS"


class ConcurrencyExceeded(LimitExceeded):
    """as many runs with the same concurrency key are under way as may be; wait for one to end, or ask to queue"""

    reason = "CONCURRENCY_EXCEEDED"


class PolicyRefused(TransomError):
    """no runner or action meets what the run demands (containment, persistence or zone)"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "POLICY_REFUSED"


class DeadlineExceeded(TransomError):
    """the run's time ran out; allow more with a longer timeout"""

    code = StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class DeadlinePast(DeadlineExceeded):
    """the deadline was already past when the run was submitted"""

    reason = "DEADLINE_PAST"


class NoRunner(DeadlineExceeded):
    """no runner that can do this was free before the deadline; see `transom runners list`"""

    reason = "NO_RUNNER"


class Cancelled(TransomError):
    """the run was cancelled"""

    code = StatusCode.CANCELLED
    reason = "CANCELLED"


class Skipped(Cancelled):
    """another run with the same concurrency key is under way, and this one asked to be skipped then"""

    reason = "SKIPPED"


class Superseded(Cancelled):
    """a newer run with the same concurrency key took the place of this one"""

    reason = "SUPERSEDED"


class Unavailable(TransomError):
    """the server cannot be reached; check that it runs and that the endpoint is right"""

    code = StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class ServerDraining(Unavailable):
    """the server is shutting down; send the run again"""

    reason = "SERVER_DRAINING"


class RunnerLost(Unavailable):
    """the runner was lost and the documents cannot be sent again from memory; send the run again"""

    reason = "RUNNER_LOST"


class RunLost(Unavailable):
    """the runner was lost after an effect outside became possible; check outside before you send the run again"""

    reason = "RUN_LOST"


class SessionCloned(Unavailable):
    """two processes hold sessions with the same runner certificate: both are refused"""

    reason = "SESSION_CLONED"


class AttemptFailed(TransomError):
    """the attempt failed"""

    code = StatusCode.ABORTED
    reason = "ATTEMPT_FAILED"


class PluginFailed(AttemptFailed):
    """the plugin failed; its own error text is never passed on"""

    reason = "PLUGIN_FAILED"


class SecretMissing(AttemptFailed):
    """the runner has no secret that the action needs"""

    reason = "SECRET_MISSING"


class ProviderFailed(AttemptFailed):
    """the provider behind the action failed"""

    reason = "PROVIDER_FAILED"


class Crashed(AttemptFailed):
    """the plugin's process crashed"""

    reason = "CRASHED"


class Killed(AttemptFailed):
    """the plugin's process was killed"""

    reason = "KILLED"


class TimedOut(AttemptFailed):
    """the plugin did not finish in the time it had"""

    reason = "TIMED_OUT"


class OutOfMemory(AttemptFailed):
    """the plugin needed more memory than it may use"""

    reason = "OUT_OF_MEMORY"


class OutputTooLarge(AttemptFailed):
    """the plugin's result is larger than allowed"""

    reason = "OUTPUT_TOO_LARGE"


class RunnerRefused(AttemptFailed):
    """the runner refused the attempt"""

    reason = "RUNNER_REFUSED"


class Internal(TransomError):
    """an internal error; the server's operator can find it by its time"""

    reason = "INTERNAL"
