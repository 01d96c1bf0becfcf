"""Load a plugin module and check that its hooks are spelt right."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence

import pluggy

from transom_plugin import hookspecs
from transom_plugin.context import Context
from transom_plugin.values import Input, Output


class UnknownAction(Exception):
    """The plugin's module does not know an action that its manifest declares."""


class LoadedPlugin:
    """A plugin's hooks, ready to be called."""

    def __init__(self, module_name: str) -> None:
        self._manager = pluggy.PluginManager("transom")
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(importlib.import_module(module_name), name=module_name)
        # A misspelt hook would be ignored silently otherwise.
        self._manager.check_pending()
        self._refuse_unknown_hooks(module_name)

    def _refuse_unknown_hooks(self, module_name: str) -> None:
        module = importlib.import_module(module_name)
        for name in dir(module):
            if name.startswith("transom_") and callable(getattr(module, name)) and not hasattr(hookspecs, name):
                raise pluggy.PluginValidationError(module, f"{name} is no hook of transom_plugin")

    def warm(self, actions: Sequence[str]) -> None:
        """Let the plugin prepare."""
        self._manager.hook.transom_warm(actions=actions)

    def run(self, action: str, inputs: Iterator[Input], context: Context) -> Iterable[Output]:
        """Do one call.

        Raises:
            UnknownAction: The plugin does not answer for this action.
        """
        outputs: Iterable[Output] | None = self._manager.hook.transom_run(action=action, inputs=inputs, context=context)
        if outputs is None:
            raise UnknownAction(action)
        return outputs


def load(module_name: str) -> LoadedPlugin:
    """Import a plugin and register its hooks.

    Raises:
        pluggy.PluginValidationError: A hook is misspelt, or has arguments that it should not have.
    """
    return LoadedPlugin(module_name)
