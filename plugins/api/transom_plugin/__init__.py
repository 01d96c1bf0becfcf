"""All that an author of a Transom plugin needs.

hookspecs   every hook: transom_warm, transom_run
values      what goes in and comes out: Document, Image, Page, Word, Span, Part
context     what a call may know: parameters, time, secrets, limits, progress
errors      what can go wrong, and what the caller is told
manifest    transom-plugin.toml
loading     how the runner loads a plugin
testing     the contract kit: does my plugin keep the rules?
"""

from transom_plugin.context import Context, Limits, Secret
from transom_plugin.errors import (
    BadParameters,
    Cancelled,
    DocumentDamaged,
    DocumentEmpty,
    DocumentEncrypted,
    DocumentError,
    DocumentTooLarge,
    MediaTypeMismatch,
    MediaTypeUnsupported,
    OutOfMemory,
    PageUnreadable,
    PluginError,
    ProviderFailed,
    SecretMissing,
    Stopped,
    TimedOut,
    TooManyPages,
    TooManyPixels,
)
from transom_plugin.hookspecs import hookimpl
from transom_plugin.loading import LoadedPlugin, load
from transom_plugin.selection import selected
from transom_plugin.values import Document, Image, Input, Output, Page, Part, Span, Word

__all__ = [
    "BadParameters",
    "Cancelled",
    "Context",
    "Document",
    "DocumentDamaged",
    "DocumentEmpty",
    "DocumentEncrypted",
    "DocumentError",
    "DocumentTooLarge",
    "Image",
    "Input",
    "Limits",
    "LoadedPlugin",
    "MediaTypeMismatch",
    "MediaTypeUnsupported",
    "OutOfMemory",
    "Output",
    "Page",
    "PageUnreadable",
    "Part",
    "PluginError",
    "ProviderFailed",
    "Secret",
    "SecretMissing",
    "Span",
    "Stopped",
    "TimedOut",
    "TooManyPages",
    "TooManyPixels",
    "Word",
    "hookimpl",
    "load",
    "selected",
]
