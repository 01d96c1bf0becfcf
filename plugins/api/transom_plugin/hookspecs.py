"""List every hook. A plugin is a module that implements them with `@hookimpl`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pluggy

from transom_plugin.context import Context
from transom_plugin.values import Input, Output

hookspec = pluggy.HookspecMarker("transom")
hookimpl = pluggy.HookimplMarker("transom")


@hookspec
def transom_warm(actions: Sequence[str]) -> None:
    """Prepare once, before any document: import SDKs, load models.

    Runs in the template process that every worker is forked from, so what is loaded here costs no call anything.
    It must leave no thread, no child process and no open file behind, and it never sees a document.

    Args:
        actions: Names of the plugin's actions that this runner offers.
    """


@hookspec(firstresult=True)
def transom_run(action: str, inputs: Iterator[Input], context: Context) -> Iterable[Output] | None:
    """Do one call of an action, in a process of its own that ends afterwards.

    Pull inputs one at a time and yield outputs as soon as there are any: both are streams.

    Args:
        action: Full name of the action, such as `tesseract.read`.
        inputs: Documents or images, as the manifest's `accepts` says.
        context: Parameters, time left, limits, secrets.

    Returns:
        Outputs as the manifest's `produces` says; None for an action that is not this plugin's.

    Raises:
        PluginError: With the reason that the caller is told.
    """
