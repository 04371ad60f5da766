"""The matrix as one file of HTML: opened from a disk, mailed, printed.

It fetches nothing and runs no script; a policy of its own in it says so to the browser. It has the
style sheet of the explorer in it. What others have named is text.
"""

from dataclasses import dataclass
from typing import Final

from broker.workbench.document import build_sheet, find_templates
from broker.workbench.matrix.difference import MatrixDifference
from broker.workbench.matrix.matrix import Matrix
from broker.workbench.matrix.rows import Row, build_rows
from broker.workbench.replay.report import Outcome
from broker.workbench.replay.words import KINDS

WIDEST: Final = 40  # targets of the grid; of more of them nobody sees anything
MOST: Final = 2000  # rows, and changes
_STYLES: Final = {
    Outcome.SAME: ("good", "✓", "Nothing changes."),
    Outcome.CHANGES: ("warn", "!", "Something changes, and nobody gets more."),
    Outcome.WIDENS: ("bad", "✗", "Somebody may get more than before."),
    Outcome.UNFINISHED: ("bad", "✗", "Not all of it was compared."),
}


@dataclass(frozen=True, slots=True)
class Square:
    """One client and target of the grid."""

    client: str
    target: str
    scopes: int  # how many may be obtained, by anybody
    place: str  # of its first row in the page; empty: there is none


@dataclass(frozen=True, slots=True)
class Grid:
    """Clients from top to bottom, targets from left to right."""

    targets: tuple[str, ...]
    left: int  # targets that are not in it
    lines: tuple[tuple[str, tuple[Square, ...]], ...]


def render_page(matrix: Matrix, difference: MatrixDifference | None = None) -> str:
    """Return the page; with what changes first, if that was asked."""
    rows = build_rows(matrix)
    return (
        find_templates()
        .get_template("matrix.html")
        .render(
            matrix=matrix,
            asked=matrix.asked,
            difference=difference,
            verdict=None if difference is None else _STYLES[difference.outcome],
            changes=() if difference is None else difference.changes[:MOST],
            kinds=KINDS,
            grid=build_grid(rows),
            rows=rows[:MOST],
            left=max(0, len(rows) - MOST),
            places=_places(rows),
            sheet=build_sheet("replay.css", "matrix.css"),
        )
    )


def build_grid(rows: list[Row]) -> Grid:
    """Return the grid of those who may get something, and where something may be got."""
    places = _places(rows)
    every = tuple(dict.fromkeys(row.target for row in rows))
    targets = every[:WIDEST]
    scopes: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        found = scopes.setdefault((row.client, row.target), set())
        found |= {line.scope for line in row.lines}
    return Grid(
        targets,
        len(every) - len(targets),
        tuple(
            (
                client,
                tuple(
                    Square(
                        client,
                        target,
                        len(scopes.get((client, target), ())),
                        places.get((client, target), ""),
                    )
                    for target in targets
                ),
            )
            for client in dict.fromkeys(row.client for row in rows)
        ),
    )


def _places(rows: list[Row]) -> dict[tuple[str, str], str]:
    cells = dict.fromkeys((row.client, row.target) for row in rows[:MOST])
    return {cell: f"cell-{number}" for number, cell in enumerate(cells, 1)}
