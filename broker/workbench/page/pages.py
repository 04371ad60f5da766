"""The pages of the workbench, in the frame and the style of the explorer."""

from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from jinja2 import ChoiceLoader, PackageLoader
from markupsafe import Markup, escape

from broker.explorer import links as outside
from broker.explorer.pages import Pages
from broker.explorer.times import show_age
from broker.workbench.page import links
from broker.workbench.replay.words import KINDS

_OWN: Final = ("workbench.css",)


class WorkbenchPages(Pages):
    """The same, with templates and a style sheet of its own before those of the explorer."""

    def __init__(self) -> None:
        super().__init__(zone=ZoneInfo("UTC"), named=False)
        templates = PackageLoader("broker.workbench", "page/templates")
        self._environment.loader = ChoiceLoader([templates, PackageLoader("broker.explorer")])
        folder = files("broker.workbench") / "page" / "static"
        replay = files("broker.workbench") / "templates" / "replay.css"
        own = {name: (folder / name).read_bytes() for name in _OWN}
        self._static = {**self._static, **own, "replay.css": replay.read_bytes()}
        self._environment.globals |= {
            "places": links,
            "static": {name: f"{outside.STATIC}{name}" for name in self._static},
            "kinds": KINDS,
        }
        self._environment.filters |= {"verbatim": _verbatim, "age": show_age}


def _verbatim(text: str) -> Markup:
    """Return text as it is, tabs and all, with nothing in it that acts."""
    return escape(text)
