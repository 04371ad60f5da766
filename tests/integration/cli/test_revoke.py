"""``broker revoke``: what an operator types at three in the morning, and is told."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from typer.testing import CliRunner

from broker.audit.outcome import build_issued
from broker.blocklist.rule import Scope
from broker.blocklist.store import Ledger
from broker.cli import build_app
from broker.db.engine import Database
from tests.audit import attempt, new_id, new_vault, open_records, running, signed_token
from tests.builders import BROKER, IDP, client, exchange
from tests.configuration import AUDIT_KEYS, write_keys
from tests.fixtures.postgres import execute

ALICE = ("--subject", "alice", "--issuer", IDP)
WHY = ("--reason", "laptop stolen")


class Operator:
    """Runs ``broker revoke`` with one configuration."""

    def __init__(self, path, database):
        self._config = str(path)
        self._database = database

    def revoke(self, *arguments: str, config: str | None = None):
        command = ["revoke", *arguments, "--config", config or self._config]
        return CliRunner().invoke(build_app({"revoke"}), command)

    def revoked(self, *arguments: str):
        """The answer, as JSON."""
        result = self.revoke(*arguments, "--format", "json")
        assert 0 == result.exit_code, result.output
        return json.loads(result.stdout)

    def ledger(self):
        """The rows that there are, without when they were written."""
        rows = execute(
            self._database.auditor_url,
            "SELECT scope, issuer, key, not_before, reason, by FROM revocation ORDER BY seq",
        )
        return [tuple(row) for row in rows]

    def recorded(self):
        rows = execute(
            self._database.auditor_url,
            "SELECT record FROM audit_event WHERE action = 'revocation' ORDER BY at, seq",
        )
        return open_records(self._database.auditor_url, [row["record"] for row in rows])


@pytest.fixture
def operator(fresh, tmp_path):
    """Whose broker has a database of its own, and tokens of at most five minutes."""
    write_keys(tmp_path, "audit.key")
    path = tmp_path / "broker.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "issuer": BROKER,
                "database": {"url": fresh.app_url},
                "keys": {"kek_file": "kek"},
                "audit": AUDIT_KEYS,
                "targets": [{"name": "one", "max_lifetime": "5m"}],
            }
        )
    )
    return Operator(path, fresh)


@pytest.fixture
def issued(operator, fresh) -> list[str]:
    """The ``jti`` of two live tokens, the second made of the first, by one client and another."""
    return asyncio.run(write(fresh.app_url))


async def write(url: str) -> list[str]:
    database = Database(url)
    first = signed_token(txn="t-1")
    onward = attempt(exchange=exchange(client=client("svc-b")))
    second = signed_token(onward, txn="t-1")
    async with running(database) as writer:
        await writer.append(build_issued(attempt(), first, issuer=BROKER, vault=new_vault()))
        await writer.append(build_issued(onward, second, issuer=BROKER, vault=new_vault()))
    await database.aclose()
    return [first.id, second.id]


def test_the_answer_says_what_it_hit_and_until_when_it_is_taken_elsewhere(operator, issued):
    """How many live tokens, whose, and the two numbers apart: seconds here, minutes offline."""
    result = operator.revoke(*ALICE, *WHY)
    words = " ".join(result.stdout.split())

    assert 0 == result.exit_code, result.output
    assert f"✓ revoked subject alice of {IDP}, rule 1" in words
    assert "refused by every broker within 10 s, mostly at once" in words
    assert re.search(r"svc-a 1 \d{4}-\d\d-\d\d", words)
    assert re.search(r"svc-b 1 \d{4}-\d\d-\d\d", words)
    assert "2 live tokens on record: refused by exchange and introspection in seconds." in words
    assert re.search(r"offline accepts the last one for [45]\S* min, until 20\S+ \S+ UTC\.", words)


@pytest.mark.row("OP-01")
def test_the_same_as_json_and_on_record(operator, issued):
    """The rule, its hits, one row in the ledger and one in the trail, with who did it."""
    before = datetime.now(UTC)
    answer = operator.revoked(*ALICE, *WHY)
    rule, hits = answer["rule"], answer["hits"]
    ((scope, issuer, key, not_before, reason, by),) = operator.ledger()
    (record,) = operator.recorded()

    assert ("subject", IDP, "alice", "laptop stolen") == (scope, issuer, key, reason)
    assert before <= not_before <= datetime.now(UTC)
    assert by.startswith("operator ")
    assert not answer["dry_run"]
    assert (
        rule
        | {
            "seq": 1,
            "scope": "subject",
            "issuer": IDP,
            "key": "alice",
            "not_before": not_before.isoformat(),
            "reason": "laptop stolen",
            "by": by,
        }
        == rule
    )
    assert [("svc-a", 1), ("svc-b", 1)] == [
        (one["client"], one["tokens"]) for one in hits["clients"]
    ]
    assert 2 == hits["tokens"]
    assert hits["accepted_offline_until"] > hits["counted_at"]
    assert (by, "laptop stolen") == (record["personal"]["by"], record["personal"]["reason"])
    assert 1 == record["details"]["seq"]


@pytest.mark.parametrize(
    ("arguments", "stored"),
    [
        pytest.param(["--jti", "j-1"], ("jti", BROKER, "j-1"), id="one-of-ours"),
        pytest.param(["--jti", "j-1", "--issuer", IDP], ("jti", IDP, "j-1"), id="another-s"),
        pytest.param(["--txn", "t-1"], ("txn", "", "t-1"), id="transaction"),
        pytest.param(["--actor", "x", "--issuer", IDP], ("actor", IDP, "x"), id="actor"),
        pytest.param(["--client", "svc-a"], ("client", "", "svc-a"), id="client"),
        pytest.param(["--kid", "k", "--issuer", IDP], ("kid", IDP, "k"), id="another-s-key"),
        pytest.param(["--all-of", IDP], ("issuer", IDP, ""), id="issuer"),
        pytest.param(["--everything"], ("all", "", ""), id="everything"),
    ],
)
def test_each_thing_is_named_by_one_option(operator, arguments, stored):
    """As the ledger has it."""
    operator.revoked(*arguments, *WHY)

    assert [stored] == [row[:3] for row in operator.ledger()]


@pytest.mark.parametrize(
    ("arguments", "hits"),
    [
        pytest.param(["--txn", "t-1"], 2, id="transaction"),
        pytest.param(["--client", "svc-b"], 1, id="client"),
        pytest.param(["--client", "svc-c"], 0, id="a-client-without-any"),
        pytest.param(["--all-of", IDP], 2, id="issuer"),
        pytest.param(["--all-of", BROKER], 2, id="ours"),
        pytest.param(["--subject", "alice", "--issuer", BROKER], 0, id="a-namesake"),
        pytest.param(["--everything"], 2, id="everything"),
        pytest.param(["--everything", "--not-before", "-3000d"], 0, id="what-is-years-old"),
    ],
)
def test_what_would_be_hit_can_be_seen_before(operator, issued, arguments, hits):
    """``--dry-run`` counts and writes nothing, in the ledger or in the trail."""
    trail = "SELECT count(*) FROM audit_event"
    before = execute(operator._database.auditor_url, trail)
    shown = operator.revoke(*arguments, *WHY, "--dry-run")
    answer = operator.revoked(*arguments, *WHY, "--dry-run")

    assert (True, hits) == (answer["dry_run"], answer["hits"]["tokens"])
    assert "· would revoke" in shown.stdout
    assert ([], before) == (operator.ledger(), execute(operator._database.auditor_url, trail))


@pytest.mark.parametrize(
    ("arguments", "ahead"),
    [
        pytest.param([*ALICE], timedelta(), id="a-subject-now"),
        pytest.param(["--client", "svc-a"], timedelta(hours=24), id="a-client-for-a-day"),
        pytest.param(
            ["--client", "svc-a", "--not-before", "+1h"], timedelta(hours=1), id="or-shorter"
        ),
        pytest.param(["--actor", "x", "--issuer", IDP], timedelta(seconds=10), id="an-actor"),
        pytest.param([*ALICE, "--not-before", "-2h"], timedelta(hours=-2), id="before-two-hours"),
    ],
)
def test_from_when_is_now_unless_it_is_said(operator, arguments, ahead):
    """A client is kept out for a day, since it would only ask again."""
    operator.revoked(*arguments, *WHY)
    ((*_, not_before, _, _),) = operator.ledger()

    assert abs(not_before - ahead - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_instant_is_taken_as_it_is(operator):
    """Without a zone it is UTC, as everywhere here."""
    operator.revoked(*ALICE, *WHY, "--not-before", "2026-01-02T03:04:05")

    assert datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) == operator.ledger()[0][3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([*WHY], "say one thing to revoke", id="nothing"),
        pytest.param([*ALICE, "--txn", "t", *WHY], "say one thing to revoke", id="two-things"),
        pytest.param([*ALICE], "say --reason", id="without-a-reason"),
        pytest.param([*ALICE, "--reason", ""], "say why", id="an-empty-reason"),
        pytest.param(["--subject", "alice", *WHY], "say --issuer", id="half-an-identity"),
        pytest.param(["--actor", "x", *WHY], "say --issuer", id="half-an-actor"),
        pytest.param(["--client", "c", "--issuer", IDP, *WHY], "leave out", id="issuer-of-client"),
        pytest.param(["--client", "", *WHY], "client", id="an-empty-name"),
        pytest.param(["--all-of", "", *WHY], "issuer", id="an-empty-issuer"),
        pytest.param(
            ["--kid", "k", "--issuer", BROKER, *WHY], "broker keys revoke", id="a-key-of-ours"
        ),
        pytest.param([*ALICE, *WHY, "--not-before", "24h"], "+24h", id="without-a-sign"),
        pytest.param([*ALICE, *WHY, "--not-before", "+9999999d"], "+24h", id="beyond-the-calendar"),
        pytest.param([*ALICE, *WHY, "--not-before", "soon"], "+24h", id="no-time"),
        pytest.param(["--jti", "j", *WHY, "--not-before", "-1h"], "leave out", id="not-of-a-token"),
        pytest.param([*ALICE, "--reason", "x" * 1025], "1024", id="too-long"),
    ],
)
def test_what_is_unclear_revokes_nothing(operator, arguments, said):
    """Said in a line, with exit code 2; the ledger is as it was."""
    result = operator.revoke(*arguments)

    assert 2 == result.exit_code
    assert said in result.stderr
    assert [] == operator.ledger()
    assert [] == operator.recorded()


def test_what_is_in_force_is_listed(operator):
    """The newest first; of several on one thing, the one that counts."""
    operator.revoked(*ALICE, *WHY, "--not-before", "+1h")
    operator.revoked(*ALICE, "--reason", "again")
    operator.revoked("--txn", "t-1", "--reason", "a mistake")
    rules = json.loads(operator.revoke("list", "--format", "json").stdout)
    lines = operator.revoke("list", "--format", "jsonl").stdout.splitlines()
    words = " ".join(operator.revoke("list").stdout.split())

    assert [("txn", "a mistake"), ("subject", "laptop stolen")] == [
        (rule["scope"], rule["reason"]) for rule in rules
    ]
    assert rules == [json.loads(line) for line in lines]
    assert "2 in force." in words
    assert "transaction t-1 whenever a mistake" in words


def test_nothing_in_force_is_said(operator):
    """In words, and as an empty list."""
    assert "Nothing is revoked." in operator.revoke("list").stdout
    assert [] == json.loads(operator.revoke("list", "--format", "json").stdout)


async def test_what_no_token_can_meet_any_more_is_not_listed(operator, fresh):
    """It is in the ledger for good, and in force no longer."""
    database = Database(fresh.app_url)
    await Ledger(database).append(Scope.TXN, key="old", reason="x", by="x")
    await database.aclose()
    await asyncio.to_thread(
        execute,
        fresh.superuser_url,
        "ALTER TABLE revocation DISABLE TRIGGER ALL",
        "UPDATE revocation SET at = at - interval '90 days'",
    )
    result = await asyncio.to_thread(operator.revoke, "list", "--format", "json")

    assert [] == json.loads(result.stdout)


def test_without_a_database_nothing_is_revoked_and_that_is_said(operator, tmp_path):
    """Exit code 2, no traceback."""
    away = tmp_path / "away.yaml"
    url = f"postgresql://broker_app@/broker?host={tmp_path}"
    away.write_text(
        yaml.safe_dump(
            {
                "issuer": BROKER,
                "database": {"url": url},
                "keys": {"kek_file": "kek"},
                "audit": AUDIT_KEYS,
            }
        )
    )
    for arguments in ([*ALICE, *WHY], ["list"]):
        result = operator.revoke(*arguments, config=str(away))

        assert (2, "") == (result.exit_code, result.stdout)
        assert "broker doctor" in result.stderr


def test_what_cannot_be_counted_is_revoked_all_the_same(operator, fresh, issued):
    """Exit code 1: it is durable and on record, and the answer admits what it does not know."""
    execute(fresh.owner_url, "REVOKE SELECT ON audit_event FROM broker_app")
    result = operator.revoke("--jti", new_id(), *WHY, "--format", "json")

    assert 1 == result.exit_code, result.output
    assert json.loads(result.stdout)["hits"] is None
    assert "could not be counted" in result.stderr
    assert 1 == len(operator.ledger()) == len(operator.recorded())
