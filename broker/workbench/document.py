"""A page that is one file: its templates, and the style sheets that stand in it."""

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def find_templates() -> Environment:
    """Return the templates of the reports; what is put into them is escaped."""
    return Environment(
        loader=PackageLoader("broker.workbench"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


@cache
def build_sheet(*names: str) -> Markup:
    """Return the explorer's style sheet and these of the reports, one after another."""
    explorer = resources.files("broker.explorer") / "static" / "style.css"
    own = resources.files("broker.workbench") / "templates"
    sheets = (explorer, *(own / name for name in names))
    text = "\n".join(one.read_text(encoding="utf-8") for one in sheets)
    return Markup(text)  # noqa: S704 — our own files
