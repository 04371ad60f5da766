"""The pictures of the docs: each is shown, in light and in dark, and none is heavy."""

import re
import struct
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs" / "images").glob("*.png"))
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


def size(path):
    """Width and height, as its header has them."""
    return struct.unpack(">II", path.read_bytes()[16:24])


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_light_enough_and_shown_somewhere(path):
    """Below 200 kB, and on a page, with words for whoever does not see it."""
    shown = re.findall(r'(?:src|srcset)="[^"]*images/([^"]+)"', "".join(map(Path.read_text, PAGES)))

    assert path.stat().st_size <= 200_000
    assert path.name in shown


def test_each_comes_in_light_and_in_dark_of_one_size():
    """A page shows the one that the reader's screen is set to."""
    sizes = {path.stem: size(path) for path in PICTURES}
    names = {name.rpartition("-")[0] for name in sizes}

    assert {
        *("search", "transaction", "row", "verification"),
        *("replay", "matrix", "reach", "workbench"),
    } == names
    assert all(sizes[f"{name}-light"] == sizes[f"{name}-dark"] for name in names)


def test_every_picture_that_is_shown_is_there_and_has_words():
    """Of every page."""
    missing = []
    for page in PAGES:
        for picture in re.findall(r"<picture>.*?</picture>", page.read_text(), re.DOTALL):
            paths = re.findall(r'(?:src|srcset)="([^"]+)"', picture)
            missing += [name for name in paths if not (page.parent / name).is_file()]
            missing += [] if re.search(r'alt="[^"]+"', picture) else [picture]

    assert [] == missing
