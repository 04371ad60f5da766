"""The matrix as rows to be read: issuers whose subjects get the same share one."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from broker.policy.difference import Terms
from broker.settings.values import render_duration
from broker.workbench.matrix.cell import Cell, Obtainable
from broker.workbench.matrix.matrix import Matrix

EVERY: Final = "any"
_FORMULA: Final = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
COLUMNS: Final = (
    *("client", "target", "issuer", "scope", "holds", "from", "purpose", "lifetime", "reuse"),
    *("max_depth", "mode", "claims", "obligations", "depends_on"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One scope of a row."""

    scope: str
    way: str
    depends: tuple[str, ...]

    @property
    def text(self) -> str:
        """The scope, and how it is come by if it is not simply held."""
        text = self.scope if self.way == "held" else f"{self.scope} ← {self.way}"
        return f"{text} (depends on {', '.join(self.depends)})" if self.depends else text


@dataclass(frozen=True, slots=True)
class Row:
    """What a client may obtain at a target, for the subjects of these issuers."""

    client: str
    target: str
    issuers: tuple[str, ...]  # aliases, or ``EVERY`` alone
    lines: tuple[Line, ...]
    lives: str
    hops: str
    more: tuple[str, ...]  # whatever is not as usual
    cell: Cell


def build_rows(matrix: Matrix) -> list[Row]:
    """Return a row for each client, target and kind of subject that may obtain something."""
    every = {issuer.alias for issuer in matrix.asked.area.issuers}
    groups: dict[tuple[str, str, tuple[Obtainable, ...]], list[Cell]] = {}
    for cell in matrix.filled:
        groups.setdefault((cell.client, cell.target, cell.obtainable), []).append(cell)
    return [
        _row(
            cells, (EVERY,) if {one.issuer for one in cells} == every != {cells[0].issuer} else None
        )
        for cells in groups.values()
    ]


def render_csv(matrix: Matrix) -> str:
    """Return one line for each scope and way, safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)  # RFC 4180
    writer.writerow(COLUMNS)
    for record in _records(matrix):
        writer.writerow([_harmless(value) for value in record])
    return text.getvalue()


def _records(matrix: Matrix) -> Iterator[tuple[str, ...]]:
    for cell in matrix.filled:
        for one in cell.obtainable:
            terms = one.terms
            yield (
                *(cell.client, cell.target, cell.issuer, one.scope),
                " ".join(one.holds),
                one.source or "",
                one.purpose or "",
                *(str(terms.lifetime), str(terms.reuse or ""), str(terms.max_depth)),
                "" if terms.mode is None else terms.mode.value,
                " ".join(sorted(terms.claims)),
                " ".join(sorted(terms.obligations)),
                " ".join(one.depends),
            )


def _harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, as exports of the trail have it."""
    return f"'{text}" if text and (text[0] in _FORMULA or text[0] < " ") else text


def _row(cells: list[Cell], issuers: tuple[str, ...] | None) -> Row:
    cell = cells[0]
    obtainable = cell.obtainable
    terms = [one.terms for one in obtainable]
    lines = dict.fromkeys(Line(one.scope, one.way, one.depends) for one in obtainable)
    return Row(
        cell.client,
        cell.target,
        issuers or tuple(one.issuer for one in cells),
        tuple(lines),
        _span(terms, lambda one: one.lifetime, _seconds),
        _span(terms, lambda one: one.max_depth, str),
        tuple(_more(cell, terms)),
        cell,
    )


def _more(cell: Cell, terms: list[Terms]) -> Iterator[str]:
    modes = {one.mode.value for one in terms if one.mode is not None} - {"delegation"}
    yield from sorted(modes)
    if cell.purposes:
        yield f"for {', '.join(cell.purposes)}"
    if any(one.reuse for one in terms):
        yield f"again for {_span(terms, lambda one: one.reuse, _seconds)}"
    for word, names in (
        ("claims", {name for one in terms for name in one.claims}),
        ("obliges to", {name for one in terms for name in one.obligations}),
    ):
        if names:
            yield f"{word} {', '.join(sorted(names))}"


def _span(terms: Iterable[Terms], of: Callable[[Terms], int], render: Callable[[int], str]) -> str:
    values = sorted({of(one) for one in terms})
    if len(values) == 1:
        return render(values[0])
    return f"{render(values[0])} to {render(values[-1])}"


def _seconds(seconds: int) -> str:
    return render_duration(timedelta(seconds=seconds))
