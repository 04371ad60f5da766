"""The tree of a transaction as a picture: who exchanged what for what, from left to right.

SVG inside the page, so that its text can be searched and copied, and each card is a link. It is a
group and no image: in an image there are no links to follow. All text goes through ``Markup``,
which escapes it; how things look is up to the style sheet, as no style stands in a page here.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Final

from markupsafe import Markup

from broker.audit.transaction import Transaction
from broker.explorer.card import Card, Line
from broker.explorer.choose import Place, choose, count
from broker.explorer.layout import lay_out, walk
from broker.explorer.text import fit, measure

WIDTH: Final = 252  # of a card; all of these are pixels
BETWEEN: Final = 56  # columns
GAP: Final = 14  # between cards of a column
_MARGIN: Final = 4
_LEFT: Final = 14  # of the text in its card
_RIGHT: Final = 10
_LINE: Final = 18
_PADDING: Final = 9
_BASE: Final = 13  # from the top of a line to where its letters stand
_SIZE: Final = 12.0  # of the font
_NAME_SIZE: Final = 16.0  # 14, and wider because it is bold


def draw_tree(
    transaction: Transaction,
    *,
    current: str | None = None,
    given: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
) -> Markup:
    """Return the picture; the row with the id ``current`` is marked, and never left out.

    ``given`` are fields that the searches keep which it links to, like the zone.
    How many rows are drawn is bounded: a card counts those that are not, and leads to them.
    """
    roots = choose(transaction, current=current, given=given or {}, zone=zone, height=height_of)
    total, refused = count(transaction.steps)
    return draw_places(
        roots,
        title="Who exchanged what for what",
        desc=f"{total} rows, {refused} refused; right of each token what it was exchanged for."
        f" Times are in {zone}.",
    )


def draw_places(roots: Sequence[Place], *, title: str, desc: str) -> Markup:
    """Return cards from left to right, each with lines to those that came of it."""
    height = lay_out(roots, gap=GAP) + 2 * _MARGIN
    places = list(walk(roots))
    columns = 1 + max((place.column for place in places), default=0)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="tree" role="group"'
        ' aria-labelledby="tree-title tree-desc"'
        ' viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        '<title id="tree-title">{title}</title><desc id="tree-desc">{desc}</desc>'
        '<g class="edges" aria-hidden="true">{edges}</g>{cards}</svg>'
    ).format(
        width=columns * (WIDTH + BETWEEN) - BETWEEN + 2 * _MARGIN,
        height=round(height),
        title=title,
        desc=desc,
        edges=Markup("").join(_edge(place, below) for place in places for below in place.boxes),
        cards=Markup("").join(_card(place) for place in places),
    )


def height_of(card: Card) -> float:
    """Return how high a card with these lines is."""
    return len(card.lines) * _LINE + 2 * _PADDING


def left_of(place: Place) -> int:
    """Return where a box begins."""
    return place.column * (WIDTH + BETWEEN) + _MARGIN


def _edge(above: Place, below: Place) -> Markup:
    begin, end = left_of(above) + WIDTH, left_of(below)
    middle = (begin + end) // 2
    top, bottom = _number(above.middle + _MARGIN), _number(below.middle + _MARGIN)
    return Markup('<path class="{}" d="M{} {}C{} {} {} {} {} {}" fill="none"/>').format(
        f"edge {below.content.looks}", begin, top, middle, top, middle, bottom, end, bottom
    )


def _card(place: Place) -> Markup:
    """Return a card, in a drawing of its own: what is wider than it should be is cut off there."""
    card = place.content
    drawn = Markup(
        '<svg class="card {looks}" x="{x}" y="{y}" width="{width}" height="{height}">'
        '<rect class="face" x="1" y="1" width="{inner}" height="{inner_height}" rx="8"/>'
        '<rect class="bar" x="1" y="8" width="4" height="{bar}" rx="2"/>{lines}</svg>'
    ).format(
        looks=f"{card.looks} current" if card.current else card.looks,
        x=left_of(place),
        y=_number(place.top + _MARGIN),
        width=WIDTH,
        height=_number(place.height),
        inner=WIDTH - 2,
        inner_height=_number(place.height - 2),
        bar=_number(place.height - 16),
        lines=_lines(card.lines),
    )
    if card.href is None:
        return Markup('<g role="img" aria-label="{}">{}</g>').format(card.words, drawn)
    return Markup('<a href="{}"{}><title>{}</title>{}</a>').format(
        card.href, Markup(' aria-current="true"') if card.current else "", card.words, drawn
    )


def _lines(lines: Sequence[Line]) -> Markup:
    return Markup("").join(
        _line(line, _PADDING + number * _LINE + _BASE) for number, line in enumerate(lines)
    )


def _line(line: Line, y: int) -> Markup:
    mono = "scope" in line.looks or "reason" in line.looks
    size = _NAME_SIZE if line.looks == "name" else _SIZE
    room = WIDTH - _LEFT - _RIGHT
    end = Markup("")
    if line.end:
        room -= int(measure(line.end, size=_SIZE)) + _RIGHT
        end = Markup('<text class="quiet" x="{}" y="{}" text-anchor="end">{}</text>').format(
            WIDTH - _RIGHT, y, line.end
        )
    shown = fit(line.text, room, size=size, mono=mono)
    return Markup('<text class="{}" x="{}" y="{}">{}</text>{}').format(
        line.looks, _LEFT, y, shown, end
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
