"""The forms in which the report of a replay leaves, but for the table."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

import orjson

from broker.cli.audit.source import Unclear
from broker.workbench.replay.markdown import render_markdown
from broker.workbench.replay.page import render_page
from broker.workbench.replay.report import Report

Render = Callable[[Report], str]


class ReplayFormat(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


def find_renderer(path: Path) -> Render:
    """Return what renders a report for a file of this name. Raises ``Unclear``."""
    try:
        return _BY_SUFFIX[path.suffix]
    except KeyError:
        raise Unclear(
            f"--report: {path.name} should end in one of {', '.join(_BY_SUFFIX)}"
        ) from None


def write_report(path: Path, text: str) -> None:
    """Write a report. Raises ``Unclear``."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unclear(f"--report: {path} cannot be written ({error.strerror})") from None


def _render_json(report: Report) -> str:
    return orjson.dumps(report.render(), option=orjson.OPT_INDENT_2).decode()


RENDERERS: Final[dict[ReplayFormat, Render]] = {
    ReplayFormat.JSON: _render_json,
    ReplayFormat.MARKDOWN: render_markdown,
    ReplayFormat.HTML: render_page,
}
_BY_SUFFIX: Final[dict[str, Render]] = {
    ".json": _render_json,
    ".md": render_markdown,
    ".html": render_page,
}
