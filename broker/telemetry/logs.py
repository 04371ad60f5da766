"""Logs: one JSON object a line, with the request and the trace that it belongs to.

JSON escapes what could break a line or move a terminal's cursor, whoever it came from. Of an
exception there are its types and where it was raised, and not its text: a library's text may
repeat what it was given, and that may be a token.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry import trace

# Of the request that is being answered; empty outside of one.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

# What every record has; the rest was given as ``extra``.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_TEXT: Final = 2000  # characters of one value


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON."""

    def __init__(self, worker: int | None = None) -> None:
        """``worker`` says which of several processes logs; None: there is one."""
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what cannot be JSON is shown by its type."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:_MAX_TEXT],
            **self._worker,
        }
        if request_id := current_request_id.get():
            line["request_id"] = request_id
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = trace.format_trace_id(context.trace_id)
            line["span_id"] = trace.format_span_id(context.span_id)
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = list(_causes(record.exc_info[1]))
        # In ASCII: what a terminal or a reader of lines could take for an end of line is escaped.
        return json.dumps(line, default=_name_type, skipkeys=True)


def configure_logs(level: str, *, worker: int | None = None) -> None:
    """Send every log to standard error as JSON, from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(worker))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These log every connection and statement; what matters of it the broker says itself.
    for name in ("httpx", "httpcore", "sqlalchemy.engine", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _causes(error: BaseException) -> Iterator[dict[str, Any]]:
    """Yield the error and what caused it, the last one first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)
        yield {
            "type": f"{type(current).__module__}.{type(current).__qualname__}",
            "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
        }
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )


def _name_type(value: object) -> str:
    return f"<{type(value).__name__}>"
