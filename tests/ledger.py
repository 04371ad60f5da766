"""The conformance ledger: which rows there are, and which tests say that they show one.

``tests/conformance/rows.json`` lists the rows. A test names its rows with ``@pytest.mark.row``,
which is read from the syntax tree, so that a test that cannot run here still counts as written.
"""

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

ROOT = Path(__file__).parents[1]
_LIST = ast.Name("list", ast.Load())
ROWS = ROOT / "tests" / "conformance" / "rows.json"


class Row(NamedTuple):
    """One requirement that this version keeps."""

    id: str
    source: str
    level: str
    requirement: str


class LaterRow(NamedTuple):
    """One requirement of a capability that this version does not have."""

    id: str
    subject: str


class Group(NamedTuple):
    """Rows that have a heading in common."""

    title: str
    rows: tuple[Row, ...]


class LaterGroup(NamedTuple):
    """Rows of one capability that is still to come."""

    title: str
    capability: str
    rows: tuple[LaterRow, ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows, in the order of the file."""

    required: tuple[Group, ...]
    later: tuple[LaterGroup, ...]

    @property
    def required_ids(self) -> list[str]:
        """The rows that need a test."""
        return [row.id for group in self.required for row in group.rows]

    @property
    def ids(self) -> list[str]:
        """Every row that a test may name."""
        return self.required_ids + [row.id for group in self.later for row in group.rows]


class Naming(NamedTuple):
    """A test function that names a row; ``row`` is None where what it names cannot be read."""

    row: str | None
    path: str  # from the root of the repository
    test: str


@cache
def load_ledger() -> Ledger:
    """Return the rows of ``rows.json``."""
    document = json.loads(ROWS.read_text("utf-8"))
    return Ledger(
        required=tuple(
            Group(group["title"], tuple(Row(**row) for row in group["rows"]))
            for group in document["required"]
        ),
        later=tuple(
            LaterGroup(
                group["title"],
                group["capability"],
                tuple(LaterRow(**row) for row in group["rows"]),
            )
            for group in document["later"]
        ),
    )


@cache
def find_namings() -> tuple[Naming, ...]:
    """Return every naming of a row by a test, sorted."""
    found: set[Naming] = set()
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        name = path.relative_to(ROOT).as_posix()
        found |= {Naming(row, name, test) for test, row in _rows_of(tree)}
    return tuple(sorted(found, key=lambda naming: (naming.row or "", naming.path, naming.test)))


@cache
def namings_by_row() -> dict[str, list[Naming]]:
    """Return the tests of each row that has any."""
    by_row: dict[str, list[Naming]] = defaultdict(list)
    for naming in find_namings():
        if naming.row is not None:
            by_row[naming.row].append(naming)
    return dict(by_row)


def _rows_of(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Yield each test of a module with each row that it names."""
    names = _names(tree)
    everywhere = list(_rows_in(names.get("pytestmark"), names))
    for test, places in _tests(tree.body, []):
        for row in [*everywhere, *(row for place in places for row in _rows_in(place, names))]:
            yield test, row


def _names(tree: ast.Module) -> dict[str, ast.AST]:
    """Return what the names of a module stand for: tables of cases, functions that make them."""
    names: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {target.id: node.value for target in node.targets if _is_name(target)}
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            names[node.target.id] = node.value
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("test"):
            names[node.name] = node
    return names


def _is_name(target: ast.expr) -> TypeGuard[ast.Name]:
    return isinstance(target, ast.Name)


def _tests(body: list[ast.stmt], scope: list[ast.expr]) -> Iterator[tuple[str, list[ast.expr]]]:
    """Yield each test with where its marks are: its own decorators, and those of its class."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _tests(node.body, [*scope, *node.decorator_list])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test"):
                yield node.name, [*scope, *node.decorator_list]
        elif isinstance(node, ast.Assign) and not scope:
            # TestMachine = pytest.mark.row("…")(Machine.TestCase): a state machine of Hypothesis.
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id.startswith("Test"):
                    yield target.id, [node.value]


def _rows_in(
    place: ast.AST | None, names: dict[str, ast.AST], seen: frozenset[str] = frozenset()
) -> Iterator[str | None]:
    """Yield the rows that an expression names, through the names that it refers to."""
    for node in [] if place is None else ast.walk(place):
        if isinstance(node, ast.Call) and _is_row(node.func):
            for argument in node.args:
                yield from _strings(argument, names)
        elif isinstance(node, ast.Name) and node.id in names and node.id not in seen:
            yield from _rows_in(names[node.id], names, seen | {node.id})


def _is_row(function: ast.expr) -> bool:
    """Whether this is ``pytest.mark.row``, or a short name for it."""
    if isinstance(function, ast.Attribute):
        return (
            function.attr == "row"
            and isinstance(function.value, ast.Attribute)
            and function.value.attr == "mark"
        )
    return isinstance(function, ast.Name) and function.id == "row"


def _strings(argument: ast.AST, names: dict[str, ast.AST]) -> Iterator[str | None]:
    """Yield the texts of an argument: itself, or the parts of what is unpacked."""
    match argument:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Starred(value=inner):
            yield from _strings(inner, names)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                yield from _strings(part, names)
        case ast.Name(id=name) if name in names:
            yield from _strings(names[name], names)
        case ast.GeneratorExp() | ast.ListComp():
            yield from _computed(argument)
        case _:
            yield None


def _computed(comprehension: ast.expr) -> list[str] | list[None]:
    """Return what a comprehension gives that needs no name of its module, or that it is unread."""
    source = compile(
        ast.fix_missing_locations(ast.Expression(ast.Call(_LIST, [comprehension], []))),
        "<row>",
        "eval",
    )
    try:
        found = eval(source, {"__builtins__": {"list": list, "range": range}})
    except NameError:
        return [None]
    return [str(text) for text in found]
