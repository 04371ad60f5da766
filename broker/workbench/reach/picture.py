"""What is reached as a picture: tokens from left to right, a column for each exchange.

Cards, lines and their places are those of the explorer's tree. As a file it has its style in it,
in light and dark, and loads nothing.
"""

import re
from functools import cache
from importlib import resources
from typing import Final

from markupsafe import Markup

from broker.explorer.card import Card, Line
from broker.explorer.layout import Box
from broker.explorer.tree import draw_places, height_of
from broker.workbench.reach.walk import Hop, Reach
from broker.workbench.reach.words import say_bounds, say_scopes, say_start

_CARDS: Final = 200  # in a picture; of more of them nobody sees anything
_SCOPES: Final = 8  # on a card
_VARIABLES: Final = re.compile(
    r":root \{.*?\n\}|@media \(prefers-color-scheme: dark\) \{.*?\n\}", re.DOTALL
)


def draw_reach(reach: Reach) -> Markup:
    """Return the picture as SVG; it says how many exchanges are not in it."""
    root = Box(_origin(reach), 0.0)
    root.height = height_of(root.content)
    left = _CARDS
    waiting: list[tuple[Box[Card], list[Hop]]] = [(root, list(reach.hops))]
    hidden = 0
    while waiting:
        box, hops = waiting.pop(0)
        for hop in hops:
            if left <= 0:
                hidden += 1
                continue
            left -= 1
            card = _card(hop)
            below = Box(card, height_of(card))
            box.boxes.append(below)
            waiting.append((below, hop.hops))
    more = f" {hidden} more and what follows them are not drawn." if hidden else ""
    return draw_places(
        [root],
        title=f"What {reach.client} reaches",
        desc=f"{say_start(reach)}; right of each token what it is exchanged for.{more}",
    )


def render_file(reach: Reach) -> str:
    """Return the picture as a file of its own."""
    picture = str(draw_reach(reach))
    start = picture.index(">") + 1
    return f"{picture[:start]}<style>{_style()}</style>{picture[start:]}\n"


def _origin(reach: Reach) -> Card:
    lines = [
        Line(reach.client, "name"),
        Line(f"a token of {reach.issuer}:{reach.subject}", "quiet"),
    ]
    lines += [Line(scope, "scope") for scope in reach.holds[:_SCOPES]]
    if len(reach.holds) > _SCOPES:
        lines.append(Line(f"… and {len(reach.holds) - _SCOPES} more", "quiet"))
    return Card(tuple(lines), "origin", f"{say_start(reach)}, with {', '.join(reach.holds)}")


def _card(hop: Hop) -> Card:
    scopes = say_scopes(hop)
    lines = [Line(f"{hop.client} → {hop.target}", "name"), Line(say_bounds(hop), "quiet")]
    sources = {scope for scope, _ in hop.terms.derived}
    lines += [
        Line(text, "scope derived" if scope in sources else "scope")
        for scope, text in zip(hop.scopes[:_SCOPES], scopes, strict=False)
    ]
    if len(scopes) > _SCOPES:
        lines.append(Line(f"… and {len(scopes) - _SCOPES} more", "quiet"))
    words = f"{hop.client} gets {', '.join(scopes)} at {hop.target}, {say_bounds(hop)}"
    return Card(tuple(lines), "issued", words)


@cache
def _style() -> str:
    static = resources.files("broker.explorer") / "static"
    sheet = (static / "style.css").read_text(encoding="utf-8")
    pictures = (static / "pictures.css").read_text(encoding="utf-8")
    # Of the sheet only the colours; an image has no page around it.
    return "\n".join(
        [*_VARIABLES.findall(sheet), pictures, "svg.tree { background: var(--ground); }"]
    )
