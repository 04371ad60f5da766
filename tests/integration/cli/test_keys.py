"""``broker keys``: what an operator sees of the keys, and does to them."""

import base64
import json

import pytest
import yaml
from typer.testing import CliRunner

from broker.cli import build_app
from tests.audit import open_records
from tests.configuration import AUDIT_KEYS, write_keys
from tests.fixtures.postgres import execute

MEMBERS = {
    *("kid", "algorithm", "state", "generation", "age_seconds", "next_at"),
    *("created_at", "activated_at", "retiring_at", "retired_at"),
}


class Operator:
    """Runs ``broker keys`` with one configuration."""

    def __init__(self, path, database):
        self._config = str(path)
        self._database = database
        self._began = len(self.recorded(0))

    def keys(self, *arguments: str):
        command = ["keys", arguments[0], "--config", self._config, *arguments[1:]]
        return CliRunner().invoke(build_app({"keys"}), command)

    def listed(self, *arguments: str):
        return json.loads(self.keys("list", "--format", "json", *arguments).stdout)

    def age(self, interval: str) -> None:
        """Let time have passed for the keys."""
        execute(
            self._database.owner_url,
            f"UPDATE signing_key SET created_at = created_at - interval '{interval}',"
            f" activated_at = activated_at - interval '{interval}',"
            f" retiring_at = retiring_at - interval '{interval}'",
        )

    def recorded(self, offset=None, *, kind="keys."):
        rows = execute(
            self._database.auditor_url,
            f"SELECT record FROM audit_event WHERE action LIKE '{kind}%' ORDER BY at, seq"
            f" OFFSET {self._began if offset is None else offset}",
        )
        return open_records(self._database.auditor_url, [row["record"] for row in rows])


def configure(database, folder):
    write_keys(folder, "audit.key")
    (folder / "kek").write_bytes(base64.b64encode(bytes(range(32))))
    (folder / "kek").chmod(0o600)
    path = folder / "broker.yaml"
    document = {
        "issuer": "http://localhost:8080",
        "database": {"url": database.app_url},
        "keys": {"kek_file": "kek", "rotate_every": "30d"},
        "audit": AUDIT_KEYS,
        "targets": [
            {"name": "one", "max_lifetime": "5m"},
            {"name": "two", "max_lifetime": "2m", "algorithm": "Ed25519"},
        ],
    }
    path.write_text(yaml.safe_dump(document))
    return Operator(path, database)


@pytest.fixture
def operator(clean, tmp_path):
    return configure(clean, tmp_path)


def states(listed):
    return sorted((key["algorithm"], key["state"]) for key in listed)


BEGINNING = [
    ("ES256", "active"),
    ("ES256", "prepared"),
    ("Ed25519", "active"),
    ("Ed25519", "prepared"),
]


def test_before_the_first_keys_there_is_nothing_to_list(operator):
    """Said in words, and as an empty list."""
    assert "There are no keys yet" in operator.keys("list").stdout
    assert [] == operator.listed()


def test_the_first_rotation_makes_the_keys(operator):
    """Of every algorithm in use, each recorded."""
    result = operator.keys("rotate")

    assert 0 == result.exit_code
    assert BEGINNING == states(operator.listed())
    assert ["ES256", "Ed25519"] == [row["details"]["algorithm"] for row in operator.recorded()]


@pytest.mark.row("OP-01")
def test_a_rotation_is_recorded_with_who_did_it(operator):
    """One row: which keys, from which state to which, whether it was forced; no key in it."""
    operator.keys("rotate", "--algorithm", "ES256")
    operator.age("1 hour")
    before = {key["state"]: key["kid"] for key in operator.listed()}
    result = operator.keys("rotate", "--algorithm", "ES256")
    after = {key["state"]: key["kid"] for key in operator.listed()}
    record = operator.recorded()[-1]

    assert 0 == result.exit_code
    assert (before["active"], before["prepared"]) == (after["retiring"], after["active"])
    assert {
        "algorithm": "ES256",
        "generation": 2,
        "forced": False,
        "changes": [
            {"kid": after["retiring"], "from": "active", "to": "retiring"},
            {"kid": after["active"], "from": "prepared", "to": "active"},
            {"kid": after["prepared"], "from": None, "to": "prepared"},
        ],
    } == record["details"]
    assert record["personal"]["by"].startswith("operator ")


@pytest.mark.row("JK-02")
def test_too_early_is_refused_with_how_long_to_wait(operator):
    """Verifiers have a JWKS without the standby; ``--force`` is for a key that leaked."""
    operator.keys("rotate")
    early = operator.keys("rotate")
    before = operator.listed()
    forced = operator.keys("rotate", "--force", "--algorithm", "ES256")

    assert (1, 0) == (early.exit_code, forced.exit_code)
    assert "wait 6 min" in early.stderr
    assert BEGINNING == states(before)
    assert [*BEGINNING[:2], ("ES256", "retiring"), *BEGINNING[2:]] == states(operator.listed())
    assert operator.recorded()[-1]["details"]["forced"]


def test_what_is_listed_says_what_happens_next(operator):
    """By the database's clock: when it rotates, may sign, is gone."""
    operator.keys("rotate", "--algorithm", "ES256")
    operator.age("2 days 1 minute")
    words = operator.keys("list").stdout
    (active,) = (key for key in operator.listed() if key["state"] == "active")

    assert set(active) == MEMBERS
    assert 2 * 24 * 3600 + 60 <= active["age_seconds"] < 2 * 24 * 3600 + 600
    assert "rotates in 27 d" in words
    assert "may sign now" in words
    assert active["kid"] in "".join(words.split())


def test_retired_keys_are_listed_only_on_demand(operator):
    """They are history; their private parts are erased."""
    operator.keys("rotate", "--algorithm", "ES256")
    for _ in range(2):
        operator.age("1 hour")
        operator.keys("rotate", "--algorithm", "ES256")

    assert ["active", "prepared", "retiring"] == sorted(k["state"] for k in operator.listed())
    assert ["active", "prepared", "retired", "retiring"] == sorted(
        key["state"] for key in operator.listed("--all")
    )


def test_each_line_of_jsonl_is_a_key(operator):
    """The same members as in the JSON array."""
    operator.keys("rotate")
    lines = operator.keys("list", "--format", "jsonl").stdout.splitlines()

    assert [set(json.loads(line)) for line in lines] == [MEMBERS] * 4


@pytest.mark.row("OP-03")
@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_no_private_key_is_shown(operator, form):
    """Nor a wrapped one, nor what it is wrapped with."""
    operator.keys("rotate")
    output = operator.keys("list", "--format", form).output

    assert not any(word in output for word in ("wrapped", '"d"', "PRIVATE", "AAECAwQF"))


def test_an_algorithm_that_is_not_in_use_is_refused(operator):
    """With those that are."""
    result = operator.keys("rotate", "--algorithm", "RS256")

    assert "--algorithm: RS256 is not in use; there are keys of ES256, Ed25519" == str(
        result.exception
    )


def kid_of(listed, state):
    (kid,) = (key["kid"] for key in listed if key["state"] == state)
    return kid


@pytest.mark.row("JK-03", "DRILL-10", "OP-01")
def test_a_key_is_revoked_in_one_command(operator, clean):
    """The standby signs, the key is gone, what it signed is refused; who and why is on record."""
    operator.keys("rotate", "--algorithm", "ES256")
    before = operator.listed()
    bad, standby = kid_of(before, "active"), kid_of(before, "prepared")
    result = operator.keys("revoke", bad, "--reason", "found in a log")
    after = operator.listed()
    row, *more = execute(
        clean.app_url, f"SELECT scope, issuer, key, reason, by FROM revocation WHERE key = '{bad}'"
    )
    record = operator.recorded()[-1]
    ledger = [
        each["details"] for each in operator.recorded(0, kind="revocation") if bad in str(each)
    ]

    assert 0 == result.exit_code, result.output
    assert (standby, True) == (kid_of(after, "active"), bad not in {key["kid"] for key in after})
    assert ("kid", "http://localhost:8080", bad, "found in a log") == tuple(row)[:4]
    assert row["by"].startswith("operator ")
    assert [] == more
    assert ("keys.revoke", bad, "found in a log") == (
        record["action"],
        record["details"]["kid"],
        record["details"]["reason"],
    )
    assert record["personal"]["by"].startswith("operator ")
    assert [("kid", bad)] == [(each["scope"], each["key"]) for each in ledger]
    assert "retired" == {k["kid"]: k["state"] for k in operator.listed("--all")}[bad]


@pytest.mark.row("JK-03")
def test_revoking_again_only_says_it_once_more(operator):
    """What was done half can be repeated; the keys do not move twice."""
    operator.keys("rotate", "--algorithm", "ES256")
    bad = kid_of(operator.listed(), "active")
    operator.keys("revoke", bad, "--reason", "one")
    before = operator.listed()
    again = operator.keys("revoke", bad, "--reason", "two")

    assert 0 == again.exit_code
    assert [key["kid"] for key in before] == [key["kid"] for key in operator.listed()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("stranger", "--reason", "x"), "no such key", id="unknown"),
        pytest.param(("stranger",), "--reason", id="without-a-reason"),
        pytest.param(("--reason", "x"), "kid", id="without-a-key"),
    ],
)
def test_a_key_that_is_not_ours_is_not_revoked(operator, clean, arguments, said):
    """Said in a line, with where to look; the ledger stays as it was."""
    operator.keys("rotate", "--algorithm", "ES256")
    before = operator.listed(), execute(clean.app_url, "SELECT count(*) FROM revocation")
    result = operator.keys("revoke", *arguments)
    after = operator.listed(), execute(clean.app_url, "SELECT count(*) FROM revocation")

    assert 0 != result.exit_code
    assert said in result.output
    assert [k["kid"] for k in before[0]] == [k["kid"] for k in after[0]]
    assert before[1] == after[1]


def test_an_empty_reason_is_none(operator):
    """Why is part of it."""
    operator.keys("rotate", "--algorithm", "ES256")
    bad = kid_of(operator.listed(), "active")
    result = operator.keys("revoke", bad, "--reason", "")

    assert str(result.exception).startswith("--reason: ")
    assert bad == kid_of(operator.listed(), "active")


@pytest.mark.row("OP-01")
def test_keys_are_put_under_another_kek_by_one_command(operator, tmp_path):
    """Recorded with who did it; the second time there is nothing to do."""
    operator.keys("rotate")
    new = tmp_path / "kek.new"
    new.write_bytes(base64.b64encode(bytes(range(32, 64))))
    new.chmod(0o600)
    first = operator.keys("rekey", "--new-kek-file", str(new))
    record = operator.recorded()[-1]
    again = operator.keys("rekey", "--new-kek-file", str(new))
    kids = {key["kid"] for key in operator.listed()}
    operator.age("1 hour")
    left_behind = operator.keys("rotate")
    (tmp_path / "kek").write_bytes(new.read_bytes())
    moved = operator.keys("rotate")

    assert (0, "4 keys are under the new key-encryption key now.\n") == (
        first.exit_code,
        first.stdout,
    )
    assert ("keys.rekey", kids) == (record["action"], set(record["details"]["kids"]))
    assert record["personal"]["by"].startswith("operator ")
    assert (0, "Every key is under the new key-encryption key already.\n") == (
        again.exit_code,
        again.stdout,
    )
    assert (1, 0) == (left_behind.exit_code, moved.exit_code)
    assert "does not open under this kek" in left_behind.stderr


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        pytest.param(None, 0o600, "does not exist", id="missing"),
        pytest.param("", 0o600, "is empty", id="empty"),
        pytest.param("c2hvcnQ=", 0o600, "holds 5 bytes", id="short"),
        pytest.param("no base64!", 0o600, "is not base64", id="no-base64"),
        pytest.param(base64.b64encode(bytes(32)).decode(), 0o644, "everybody can", id="open"),
    ],
)
def test_a_new_kek_that_cannot_be_one_is_refused(operator, tmp_path, content, mode, said):
    """By the name of the option, before anything is moved."""
    operator.keys("rotate")
    new = tmp_path / "kek.new"
    if content is not None:
        new.write_text(content)
        new.chmod(mode)
    result = operator.keys("rekey", "--new-kek-file", str(new))

    assert str(result.exception).startswith("--new-kek-file: ")
    assert said in str(result.exception)
    assert 0 == operator.keys("list").exit_code


def test_without_the_audit_trail_nothing_is_rotated(fresh, tmp_path):
    """What cannot be recorded does not take place."""
    operator = configure(fresh, tmp_path)
    operator.keys("rotate")
    before = operator.listed()
    execute(fresh.owner_url, "REVOKE INSERT ON audit_event FROM broker_app")
    result = operator.keys("rotate", "--force")

    assert 2 == result.exit_code
    assert "so nothing was changed" in result.stderr
    assert [key["kid"] for key in before] == [key["kid"] for key in operator.listed()]
    assert states(before) == states(operator.listed())


def test_without_a_schema_it_says_that_the_database_does_not_answer(fresh, tmp_path):
    """A line with what to do next, and no traceback."""
    operator = configure(fresh, tmp_path)
    execute(fresh.owner_url, "DROP TABLE signing_key")
    result = operator.keys("list")

    assert 2 == result.exit_code
    assert "see broker doctor" in result.stderr


def test_nothing_is_made_where_no_broker_has_run(tmp_path):
    """Listing keys does not found a database."""
    (tmp_path / "broker.yaml").write_text("issuer: http://localhost:8080\n")
    command = ["keys", "list", "--config", str(tmp_path / "broker.yaml")]
    result = CliRunner().invoke(build_app({"keys"}), command)

    assert "there is no database in" in str(result.exception)
    assert ["broker.yaml"] == [path.name for path in tmp_path.iterdir()]
