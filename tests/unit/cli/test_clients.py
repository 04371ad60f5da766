"""``broker clients``: secrets that are seen once, and a list without any."""

import hashlib
import json
import os
import re

import pytest
import yaml
from typer.testing import CliRunner

from broker.cli import build_app
from tests.configuration import AUDIT_KEYS

HASH = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def run(*arguments: str):
    return CliRunner().invoke(build_app({"clients"}), ["clients", *arguments])


@pytest.fixture
def configuration(tmp_path):
    path = tmp_path / "broker.yaml"
    document = {
        "issuer": "http://localhost:8080",
        "database": {"url": "postgresql://app:hunter2@db/broker"},
        "keys": {"kek_file": "kek"},
        "audit": AUDIT_KEYS,
        "issuers": [
            {
                "issuer": "https://idp.test",
                "alias": "idp",
                "jwks_uri": "https://idp.test/jwks",
                "algorithms": ["ES256"],
            }
        ],
        "clients": [
            {
                "id": "checkout",
                "secrets": [HASH, OTHER],
                "targets": ["checkout"],
                "default_target": "checkout",
                "known_as": [{"issuer": "https://idp.test", "id": "checkout-app"}],
            },
            {"id": "batch", "auth": "private_key_jwt", "jwks_uri": "https://batch.test/jwks"},
            {"id": "parked", "secrets": [HASH.replace("ab", "ef")], "grant_types": []},
        ],
        "targets": [{"name": "checkout", "scopes": ["orders.read"]}],
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


LISTED = [
    {
        "id": "checkout",
        "auth": "client_secret_basic",
        "secrets": 2,
        "keys": None,
        "targets": ["checkout"],
        "default_target": "checkout",
        "known_as": [{"issuer": "https://idp.test", "id": "checkout-app"}],
        "grant_types": ["token-exchange"],
    },
    {
        "id": "batch",
        "auth": "private_key_jwt",
        "secrets": 0,
        "keys": "jwks_uri",
        "targets": [],
        "default_target": None,
        "known_as": [],
        "grant_types": ["token-exchange"],
    },
    {
        "id": "parked",
        "auth": "client_secret_basic",
        "secrets": 1,
        "keys": None,
        "targets": [],
        "default_target": None,
        "known_as": [],
        "grant_types": [],
    },
]


def test_a_secret_is_printed_once_beside_the_line_for_the_configuration():
    """The line is the secret's SHA-256, as the settings take it."""
    result = run("new-secret")
    (secret,) = re.findall(r"^[A-Za-z0-9_-]{43}$", result.stdout, re.MULTILINE)
    (line,) = re.findall(r"^sha256:[0-9a-f]{64}$", result.stdout, re.MULTILINE)

    assert 0 == result.exit_code
    assert f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}" == line


def test_a_secret_for_a_file_is_not_on_the_screen(tmp_path):
    """It is its owner's alone, whatever the umask says."""
    path = tmp_path / "secret"
    before = os.umask(0)
    try:
        result = run("new-secret", "--output", str(path), "--format", "json")
    finally:
        os.umask(before)
    secret = path.read_text().strip()

    assert 0o600 == path.stat().st_mode & 0o777
    assert secret not in result.output
    assert {
        "file": str(path),
        "hash": f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}",
    } == json.loads(result.stdout)


def test_nothing_is_overwritten(tmp_path):
    """The old secret would be lost, and its client locked out; a link leads nowhere."""
    path, link = tmp_path / "secret", tmp_path / "link"
    path.write_text("old")
    link.symlink_to(tmp_path / "elsewhere")
    results = [run("new-secret", "--output", str(place)) for place in (path, link)]

    assert [2, 2] == [result.exit_code for result in results]
    assert ["", ""] == [result.stdout for result in results]
    assert "nothing is overwritten" in results[0].stderr
    assert "old" == path.read_text()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_said_so(tmp_path):
    """Without a traceback."""
    result = run("new-secret", "--output", str(tmp_path / "no" / "secret"))

    assert 2 == result.exit_code
    assert "cannot be written" in result.stderr


def test_clients_are_listed_as_they_are_configured(configuration):
    """As JSON, and as a line each."""
    whole = run("list", "--config", configuration, "--format", "json")
    lines = run("list", "--config", configuration, "--format", "jsonl")

    assert LISTED == json.loads(whole.stdout)
    assert LISTED == [json.loads(line) for line in lines.stdout.splitlines()]


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_no_secret_and_no_hash_is_in_the_list(configuration, form):
    """Nor the database's password."""
    output = run("list", "--config", configuration, "--format", form).output

    assert "checkout" in output
    assert not any(text in output for text in ("sha256", "abab", "cdcd", "hunter2"))


def test_the_table_says_what_needs_attention(configuration):
    """A secret that is being replaced, and a client that may use nothing."""
    words = " ".join(run("list", "--config", configuration).stdout.split())

    assert "2 secrets" in words
    assert "may use nothing" in words


def test_without_clients_it_says_so(tmp_path):
    """An empty table would be a question."""
    path = tmp_path / "broker.yaml"
    path.write_text("issuer: http://localhost:8080\n")

    assert "No client is configured." == run("list", "--config", str(path)).stdout.strip()
