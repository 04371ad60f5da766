"""``broker keys``: what an operator sees of the keys, and does to them."""

import base64
import json

import pytest
import yaml
from typer.testing import CliRunner

from broker.cli import build_app
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

    def recorded(self, offset=None):
        rows = execute(
            self._database.auditor_url,
            "SELECT record FROM audit_event WHERE action = 'keys.rotate' ORDER BY at, seq"
            f" OFFSET {self._began if offset is None else offset}",
        )
        return [json.loads(row["record"]) for row in rows]


def configure(database, folder):
    (folder / "kek").write_bytes(base64.b64encode(bytes(range(32))))
    (folder / "kek").chmod(0o600)
    path = folder / "broker.yaml"
    document = {
        "issuer": "http://localhost:8080",
        "database": {"url": database.app_url},
        "keys": {"kek_file": "kek", "rotate_every": "30d"},
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
