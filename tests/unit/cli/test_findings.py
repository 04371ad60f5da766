"""What ``check`` and ``doctor`` print of what they found."""

import json

import pytest

from broker.cli.findings import (
    Finding,
    Mark,
    bad,
    good,
    hint,
    print_findings,
    print_findings_json,
    warning,
    worst,
)
from tests.unit.cli.rendering import printed, words

GOOD = good("settings", "3 issuers")
HINT = hint("clients", "checkout authenticates by secret", "use private_key_jwt")
WARNING = warning("clock", "is 9 s behind", "synchronise it")
BAD = bad("database", "does not answer", "start it")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        pytest.param([], Mark.GOOD, id="nothing"),
        pytest.param([GOOD, HINT], Mark.GOOD, id="a-hint-is-no-fault"),
        pytest.param([GOOD, WARNING], Mark.WARNING, id="a-warning"),
        pytest.param([BAD, WARNING, GOOD], Mark.BAD, id="something-bad"),
    ],
)
def test_the_exit_code_is_the_worst_of_it(findings: list[Finding], expected: Mark):
    """0 good, 1 warnings, 2 bad."""
    assert expected is worst(findings)


def test_each_finding_has_its_remedy_under_it():
    """Signs and not colours tell them apart."""
    text = words(printed(lambda console: print_findings([GOOD, WARNING, BAD], console)))

    assert "✓ settings 3 issuers" in text
    assert "! clock is 9 s behind → synchronise it" in text
    assert "✗ database does not answer → start it" in text
    assert "1 will fail, 1 to look at, 1 well." in text


@pytest.mark.parametrize("width", [40, 80, 110])
def test_long_findings_fit_and_are_not_cut(width: int):
    """What is named stays whole, over several lines if need be."""
    long = bad("issuers[0].jwks_uri." + "a" * 60, "t" * 200, "m" * 90)

    text = printed(lambda console: print_findings([long], console), width)

    assert all(len(line) <= width for line in text.splitlines())
    assert [60, 200] == [text.count("a") - text.count("fail"), text.count("t")]


def test_a_server_cannot_write_to_the_terminal():
    """What it says of itself is shown and not obeyed."""
    hostile = bad("keys", "\x1b]0;title\x07", "\x1b[2J")

    assert "\x1b" not in printed(lambda console: print_findings([hostile], console))


def test_programs_get_the_same_as_json(capsys: pytest.CaptureFixture[str]):
    """With the marks by name."""
    print_findings_json([GOOD, BAD])

    assert {
        "ok": False,
        "findings": [
            {"mark": "good", "subject": "settings", "text": "3 issuers", "remedy": ""},
            {
                "mark": "bad",
                "subject": "database",
                "text": "does not answer",
                "remedy": "start it",
            },
        ],
    } == json.loads(capsys.readouterr().out)
