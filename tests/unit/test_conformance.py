"""The ledger of conformance rows against the tests: nothing is promised that no test shows."""

import ast

import pytest

from tests import ledger
from tests.ledger import find_namings, load_ledger, namings_by_row

LEDGER = load_ledger()


def test_every_row_has_a_name_of_its_own() -> None:
    """A row's id never means two things."""
    assert sorted(set(LEDGER.ids)) == sorted(LEDGER.ids)


@pytest.mark.parametrize("row", LEDGER.required_ids)
def test_every_row_of_this_version_has_a_test(row: str) -> None:
    """What docs/conformance.md claims is shown by at least one test that names it."""
    showing = namings_by_row().get(row, [])

    assert showing, f"no test carries @pytest.mark.row({row!r})"


def test_no_test_names_a_row_that_does_not_exist() -> None:
    """A misspelt row would be a claim about nothing."""
    known = set(LEDGER.ids)
    unknown = [naming for naming in find_namings() if naming.row not in known]

    assert [] == unknown


def test_every_row_says_what_it_asks() -> None:
    """One sentence, a source and a level for each."""
    levels = {"MUST", "MUST NOT", "SHOULD", "MAY", "text", "hard", "ours"}
    for group in LEDGER.required:
        for row in group.rows:
            assert row.level in levels | {"invariant", "advisory", "drill"}, row.id
            assert row.source, row.id
            assert row.requirement.endswith("."), row.id


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param('@pytest.mark.row("A", "B")\ndef test_x(): ...', {"A", "B"}, id="plain"),
        pytest.param('@pytest.mark.row(*("A", "B"))\ndef test_x(): ...', {"A", "B"}, id="starred"),
        pytest.param(
            'IDS = ("A", "B")\n@pytest.mark.row(*IDS)\ndef test_x(): ...',
            {"A", "B"},
            id="constant",
        ),
        pytest.param(
            '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.row("A"))])\n'
            "def test_x(x): ...",
            {"A"},
            id="in-a-param",
        ),
        pytest.param(
            'CASES = [pytest.param(1, marks=[pytest.mark.row("A")])]\n'
            '@pytest.mark.parametrize("x", CASES)\ndef test_x(x): ...',
            {"A"},
            id="in-a-table",
        ),
        pytest.param('pytestmark = pytest.mark.row("A")\ndef test_x(): ...', {"A"}, id="module"),
        pytest.param(
            '@pytest.mark.row("A")\nclass TestX:\n    def test_x(self): ...', {"A"}, id="class"
        ),
        pytest.param(
            '@pytest.mark.row(*(f"A-{n}" for n in (1, 2)))\ndef test_x(): ...',
            {"A-1", "A-2"},
            id="computed",
        ),
        pytest.param(
            "@pytest.mark.row(*(name for name in NAMES))\ndef test_x(): ...",
            {None},
            id="not-to-be-read",
        ),
        pytest.param('TestX = pytest.mark.row("A")(Machine.TestCase)', {"A"}, id="state-machine"),
        pytest.param(
            'def cases():\n    return [pytest.param(1, marks=pytest.mark.row("A"))]\n'
            '@pytest.mark.parametrize("x", cases())\ndef test_x(x): ...',
            {"A"},
            id="made-by-a-function",
        ),
        pytest.param('@other.row("A")\ndef test_x(): ...', set(), id="another-row"),
    ],
)
def test_a_marker_is_read_however_it_is_written(source: str, expected: set[str | None]) -> None:
    """No way of writing a marker hides it from the ledger."""
    assert expected == {row for _, row in ledger._rows_of(ast.parse(source))}
