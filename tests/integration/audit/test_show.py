"""``broker audit show``: the whole of a transaction, from any of its rows."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from broker.audit.commit import AuditTrail
from broker.audit.detect.alert import Alert
from broker.cli.audit import app
from broker.db.engine import Database
from broker.errors import Reason
from tests import builders
from tests.audit import attempt, new_id, new_vault, now, reused_token, running, signed_token
from tests.configuration import write_keys
from tests.fixtures.postgres import one_more

ALERT = Alert(
    *("probing", "svc\x1b[31m", None, None, now(), now(), 31, 4, 30.0, "refusals"),
    evidence=("row-1", "row-2"),
)


async def write(made) -> tuple[str, str]:
    """Two exchanges, the second of what the first gave, and a refusal of that."""
    database = Database(made.app_url)
    async with running(database) as writer:
        trail = AuditTrail(
            writer, issuer=builders.BROKER, vault=new_vault(), clock=now, build_id=new_id
        )
        first = signed_token(txn="t-1")
        await trail.commit(attempt(), first)
        again = builders.exchange(subject=builders.verified_token(jti=first.id, txn="t-1"))
        second = signed_token(attempt(exchange=again), txn="t-1")
        await trail.commit(attempt(exchange=again), second)
        await trail.commit(attempt(), reused_token(first))
        await trail.refuse(attempt(exchange=again), Reason.POLICY_SCOPE_NOT_HELD)
        await trail.record_alert(ALERT)
    await database.aclose()
    return first.id, second.id


@pytest.fixture(scope="module")
def written(postgres, template):
    with one_more(postgres, template.name) as made:
        yield made, *asyncio.run(write(made))


def show(*arguments: str):
    return CliRunner().invoke(app, ["show", *arguments], env={"COLUMNS": "160"})


def test_the_tree_is_whole_from_any_row_of_it(written):
    """The first token, what was made of it, and who was refused."""
    made, first, second = written
    found = [
        json.loads(show(jti, "--format", "json", "--database-url", made.auditor_url).stdout)
        for jti in (first, second)
    ]
    (root,) = found[0]["steps"]

    assert found[0] == found[1]
    assert (first, "issued", "t-1") == (root["id"], root["outcome"], found[0]["txn"])
    assert [(second, "issued"), ("refused",)] == [
        (root["steps"][0]["id"], root["steps"][0]["outcome"]),
        (root["steps"][2]["outcome"],),
    ]


def test_a_token_that_was_given_out_again_is_told_of(written):
    """Below the token, beside what was made of it; and from its own row it is the same."""
    made, first, _ = written
    url = ("--database-url", made.auditor_url)
    (root,) = json.loads(show(first, *url, "--format", "json").stdout)["steps"]
    again = root["steps"][1]
    lines = show(again["id"], *url).stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "given out again" in line)

    assert ("reuse", first) == (again["record"]["action"], again["record"]["jti"])
    assert [] == again["steps"]
    assert "asked for" in lines[place]
    assert first in lines[place + 2]


def test_what_explains_an_exchange_is_named(written):
    """In one line to be copied, for the row that was asked for, and not where nothing decided."""
    made, _, second = written
    exchange = show(second, "--database-url", made.auditor_url)
    alert = show(ALERT.id, "--database-url", made.auditor_url)

    assert f"why, rule by rule: broker policy explain {second}" in exchange.stdout.splitlines()
    assert "explain" not in alert.stdout


def test_an_alert_is_shown_with_its_numbers(written):
    """It is no exchange: nobody was refused, and it stands alone."""
    made, *_ = written
    result = show(ALERT.id, "--database-url", made.auditor_url)

    assert 0 == result.exit_code
    head, at, *rest = result.stdout.splitlines()
    lines = [line.split() for line in rest if line.strip()]
    assert ("• alert probing", ALERT.id) == (head, at.split()[-1])
    for line in (
        ["severity", "medium"],
        ["client.id", "svc�[31m"],
        ["details.observed", "31"],
        ["details.expected", "4"],
        ["details.threshold", "30.0"],
        ["details.evidence", "row-1"],
        ["row-2"],
    ):
        assert line in lines


def test_persons_are_named_with_the_key_alone(written, tmp_path):
    """Without it the tree is the same, of pseudonyms."""
    made, first, _ = written
    write_keys(tmp_path, "audit.key")
    url = ("--database-url", made.auditor_url)
    blind = show(first, *url)
    seeing = show(first, *url, "--key-file", str(tmp_path / "audit.key"))

    assert (0, 0) == (blind.exit_code, seeing.exit_code)
    assert ("for alice" in blind.stdout, "for alice" in seeing.stdout) == (False, True)
    assert "hmac:" in blind.stdout
    assert "policy.scope_not_held" in seeing.stdout


@pytest.mark.parametrize(
    ("jti", "said"),
    [
        pytest.param("01a21988-5170-744a-9c55-370325c06d01", "no row", id="unknown"),
        pytest.param("' OR 1=1", "UUIDs", id="an-injection"),
        pytest.param("", "UUIDs", id="empty"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(written, jti, said):
    """Exit code 2."""
    answer = show(jti, "--database-url", written[0].auditor_url)

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert said in " ".join(answer.stderr.split())
