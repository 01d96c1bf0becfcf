"""Name what can go wrong in a plugin. Only the reason travels: a caller never sees a plugin's own text.

    PluginError
    ├── DocumentError             the document is at fault
    │   ├── DocumentDamaged, DocumentEncrypted, DocumentEmpty
    │   ├── MediaTypeUnsupported, MediaTypeMismatch
    │   ├── DocumentTooLarge, TooManyPages, TooManyPixels
    │   └── PageUnreadable
    ├── BadParameters             a parameter is at fault
    ├── SecretMissing             the runner lacks a secret
    ├── ProviderFailed            the company behind the action is at fault
    ├── OutOfMemory               more memory was needed than is allowed
    └── Stopped                   the call is over
        └── Cancelled, TimedOut

Any other exception that leaves a plugin is reported as PLUGIN_FAILED.
"""

from __future__ import annotations

from typing import ClassVar


class PluginError(Exception):
    """The plugin failed."""

    reason: ClassVar[str] = "PLUGIN_FAILED"

    def __init__(self) -> None:
        super().__init__(self.reason)


class DocumentError(PluginError):
    """The document is at fault."""

    reason = "DOCUMENT_DAMAGED"


class DocumentDamaged(DocumentError):
    """The document cannot be read: it is damaged or cut short."""

    reason = "DOCUMENT_DAMAGED"


class DocumentEncrypted(DocumentError):
    """The document is protected by a password."""

    reason = "DOCUMENT_ENCRYPTED"


class DocumentEmpty(DocumentError):
    """The document holds nothing, such as a PDF without pages."""

    reason = "DOCUMENT_EMPTY"


class MediaTypeUnsupported(DocumentError):
    """The action does not take documents of this media type."""

    reason = "MEDIA_TYPE_UNSUPPORTED"


class MediaTypeMismatch(DocumentError):
    """The bytes are not of the declared media type."""

    reason = "MEDIA_TYPE_MISMATCH"


class DocumentTooLarge(DocumentError):
    """The document has more bytes than allowed."""

    reason = "DOCUMENT_TOO_LARGE"


class TooManyPages(DocumentError):
    """The document has more pages than allowed."""

    reason = "TOO_MANY_PAGES"


class TooManyPixels(DocumentError):
    """An image has more pixels than allowed."""

    reason = "TOO_MANY_PIXELS"


class PageUnreadable(DocumentError):
    """One page cannot be read."""

    reason = "PAGE_UNREADABLE"


class BadParameters(PluginError):
    """A parameter does not fit, in a way that its schema could not express."""

    reason = "BAD_PARAMETERS"


class SecretMissing(PluginError):
    """The runner has no secret of that name for this action."""

    reason = "SECRET_MISSING"


class ProviderFailed(PluginError):
    """The provider behind the action failed."""

    reason = "PROVIDER_FAILED"


class OutOfMemory(PluginError):
    """More memory was needed than is allowed."""

    reason = "OUT_OF_MEMORY"


class Stopped(PluginError):
    """The call is over: let this exception pass."""

    reason = "CANCELLED"


class Cancelled(Stopped):
    """Nobody waits for the result any more."""

    reason = "CANCELLED"


class TimedOut(Stopped):
    """The time that the call had is used up."""

    reason = "TIMED_OUT"
