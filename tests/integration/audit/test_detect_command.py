"""``broker audit alerts`` and ``broker audit detect``: what was found, and what would be."""

import asyncio
import json

import pytest

from broker.db.engine import Database
from tests.audit import attempt
from tests.detecting import alerts, look, replay
from tests.fixtures.postgres import execute, one_more
from tests.looking import audit
from tests.sealing import seal_now, write_rows

CLIENT = attempt().client.id


@pytest.fixture(scope="module")
def told(postgres, template):
    """A trail with an alert on record."""

    async def write(url):
        database = Database(url)
        try:
            await write_rows(database)
            await seal_now(database)
            await look(database)
            await replay(database)
            await look(database)
        finally:
            await database.aclose()

    with one_more(postgres, template.name) as made:
        asyncio.run(write(made.app_url))
        yield made


def test_alerts_are_listed_with_their_numbers(told):
    """Which rule, about whom, what was seen, and which row shows it."""
    result = audit(told.auditor_url, "alerts")
    ((_, _, _, record),) = alerts(told)

    assert 0 == result.exit_code
    for text in ("replay", "high", CLIENT, "3 what is for one use", "threshold 3", "and 2 more"):
        assert text in result.stdout
    assert record["details"]["evidence"][-1] in result.stdout


@pytest.mark.parametrize(
    ("options", "count"),
    [
        pytest.param((), 1, id="all"),
        pytest.param(("--rule", "replay", "--client", CLIENT), 1, id="that-one"),
        pytest.param(("--rule", "probing"), 0, id="another-rule"),
        pytest.param(("--client", "another"), 0, id="another-client"),
        pytest.param(("--since", "2999-01-01T00:00:00Z"), 0, id="later"),
    ],
)
def test_alerts_are_printed_as_they_were_hashed(told, options, count):
    """One a line, or as one document."""
    lines = audit(told.auditor_url, "alerts", "--format", "jsonl", *options)
    document = audit(told.auditor_url, "alerts", "--format", "json", *options)
    stored = execute(told.auditor_url, "SELECT record FROM audit_event WHERE kind = 'alert'")

    assert [row["record"] for row in stored][:count] == lines.stdout.splitlines()
    assert [json.loads(row["record"]) for row in stored][:count] == json.loads(document.stdout)


def test_nothing_found_says_so(told):
    """In words, and with the code of who could look."""
    result = audit(told.auditor_url, "alerts", "--rule", "probing")

    assert (0, "✓ No alerts.\n") == (result.exit_code, result.stdout)


def test_a_dry_run_finds_what_was_found(told):
    """Under the same id, with the same numbers, and writes nothing."""
    before = alerts(told)
    result = audit(told.auditor_url, "detect", "--format", "jsonl")
    (found,) = map(json.loads, result.stdout.splitlines())
    ((id_, _, _, record),) = before

    assert (id_, record["details"]) == (found["id"], found["details"])
    assert before == alerts(told)


def test_a_dry_run_counts_by_rule(told, tmp_path):
    """With the rules of a configuration, also what is suppressed and why."""
    path = tmp_path / "broker.yaml"
    path.write_text(
        "issuer: https://broker.test\n"
        "audit: {alerts: {suppress: [{rule: replay, client: "
        f"{CLIENT}, until: 2999-01-01T00:00:00Z, why: a known bug}}]}}}}\n"
    )
    plain = json.loads(audit(told.auditor_url, "detect", "--format", "json").stdout)
    quiet = audit(told.auditor_url, "detect", "--format", "json", "--config", str(path))
    found = json.loads(quiet.stdout)

    assert (1, 0) == (plain["counts"]["replay"], plain["suppressed"]["replay"])
    assert (0, 1) == (found["counts"]["replay"], found["suppressed"]["replay"])
    assert ["a known bug"] == [one["suppressed"] for one in found["newest"]]
    assert "a known bug" in audit(told.auditor_url, "detect", "--config", str(path)).stdout


def test_what_cannot_be_looked_at_is_said():
    """A line for people, and exit code 2."""
    url = "postgresql://nobody@127.0.0.1:1/broker"

    assert [2, 2] == [audit(url, command).exit_code for command in ("alerts", "detect")]
