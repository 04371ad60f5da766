"""Pages, and the files beside them. All that is put into a page is escaped, and shown as one line.

``draw_…`` and ``Markup`` are the only ways around that; what they give is made of escaped parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from broker.explorer import links
from broker.explorer.question import ZONE
from broker.explorer.text import bounded
from broker.explorer.times import show_age, show_moment

_LONGEST: Final = 16_384  # characters: of the longest address, each of them percent-encoded
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What cannot be answered, in words for a page."""

    status: int
    title: str
    said: str
    then: str = ""  # what to do about it


class Troubled(Exception):  # noqa: N818 — an answer to whoever asks
    """A request ends in a page that says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.title)
        self.trouble = trouble


class Pages:
    """The templates and the static files, loaded once."""

    def __init__(self, *, zone: ZoneInfo, named: bool) -> None:
        """``named``: persons are shown by name, for there is an audit key."""
        self._zone = zone
        self._static = _load_static()
        self._environment = Environment(
            loader=PackageLoader("broker.explorer"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_finalize,
            auto_reload=False,
        )
        self._environment.globals |= {
            "links": links,
            "static": {name: f"{links.STATIC}{name}" for name in self._static},
            "named": named,
            "kept": self.kept,
        }
        self._environment.filters |= {
            "moment": show_moment,
            "age": show_age,
            "utc": lambda at: at.isoformat(),
            "lines": _lines,
        }

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 — what templates take
        """Return a page."""
        return Response(
            self.render(template, **values), status, media_type="text/html; charset=utf-8"
        )

    def render(self, template: str, **values: Any) -> str:  # noqa: ANN401 — what templates take
        """Return the text of a template."""
        return self._environment.get_template(template).render({"zone": self._zone} | values)

    def kept(self, zone: ZoneInfo) -> dict[str, str]:
        """Return the fields that a page hands on to those behind it: another zone than ours."""
        return {} if zone.key == self._zone.key else {ZONE: zone.key}

    def trouble(self, trouble: Trouble, *, inside: bool = True) -> Response:
        """Return the page of what could not be answered; ``inside``: to somebody let in."""
        return self.page("trouble.html", status=trouble.status, trouble=trouble, inside=inside)

    def file(self, name: str) -> Response | None:
        """Return a static file."""
        found = self._static.get(name)
        if found is None:
            return None
        return Response(found, media_type=_TYPES[name.rpartition(".")[2]])


def _finalize(value: object) -> object:
    if isinstance(value, Markup | int):
        return value
    return bounded(value, _LONGEST)


def _lines(text: str) -> Markup:
    """Return text of several lines, which stay lines."""
    return escape(
        "".join(
            char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}"
            for char in text
        )
    )


def _load_static() -> Mapping[str, bytes]:
    folder = files("broker.explorer").joinpath("static")
    return {
        one.name: one.read_bytes()
        for one in folder.iterdir()
        if one.name.rpartition(".")[2] in _TYPES
    }
