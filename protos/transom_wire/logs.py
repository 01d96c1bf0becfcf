"""Write logs as JSON lines that cannot carry content: an event name and allow-listed fields, nothing else."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final

ALLOWED: Final = frozenset(
    {
        "action", "attempt", "attempts", "code", "containment", "count", "elapsed_ms", "endpoint", "exit_status", "hostname",
        "method", "pid", "plugin", "pool", "port", "reason", "run", "runner", "session", "signal", "size_bytes", "state", "version",
    }
)  # fmt: skip


OURS: Final = ("transom_wire", "transom_client", "transom_server", "transom_runner")


class AllowListFormatter(logging.Formatter):
    """Format a record as one JSON line of its event name and its allow-listed fields.

    Arguments of the message, exception texts and tracebacks are dropped: any of them may quote a document.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            # A foreign logger's message may be formatted from anything: only our own event names are printed.
            "event": record.msg if record.name.startswith("transom") and isinstance(record.msg, str) else record.name,
        }
        for name in ALLOWED:
            value = record.__dict__.get(name)
            if value is not None and isinstance(value, (str, int, float)):
                line[name] = value
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["at"] = _place(record.exc_info[2])
        return json.dumps(line)


def _place(trace: TracebackType | None) -> str:
    """Name the file and line that an error came from: code, never values."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("transom_wire").critical("process.crashed", exc_info=(kind, error, trace))


def configure(level: str = "INFO") -> None:
    """Send all logs of this process to stderr through the formatter."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(AllowListFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    # Python would print the error's text, and with it whatever it quotes.
    sys.excepthook = _crashed
    # gRPC logs the text of a servicer's exception here.
    logging.getLogger("grpc._cython.cygrpc").addFilter(lambda _: False)
