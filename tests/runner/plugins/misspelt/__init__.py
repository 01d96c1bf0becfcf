"""A plugin with a hook that does not exist."""

from transom_plugin import hookimpl


@hookimpl
def transom_rum() -> None:
    return None
