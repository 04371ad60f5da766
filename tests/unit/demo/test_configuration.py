"""The configuration of the demo is one that the broker accepts, and keeps its secrets."""

import hashlib
from pathlib import Path
from typing import Any

from broker.demo.configuration import CLIENTS, build_document, load_clients, write_document
from broker.settings import load_settings


def document(folder: Path, **overrides: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "issuer": "http://127.0.0.1:9400",
        "jwks_uri": "http://127.0.0.1:9400/jwks",
        "port": 8080,
        "admin_port": 9090,
        "policies": folder / "policies",
        "clients": load_clients(folder / "clients"),
        "admin_token_file": folder / "admin.secret",
        "database": {"url": "postgresql://broker_app@/broker?host=/s"},
        "kek_file": folder / "kek",
        "audit_key_file": folder / "audit.key",
        "checkpoint_key_file": folder / "checkpoint.key",
    }
    return build_document(**values | overrides)


def test_what_is_written_is_read_back(tmp_path: Path):
    """`broker check` and `broker doctor` can be tried on what `broker dev` runs with."""
    path = tmp_path / "broker.yaml"
    write_document(document(tmp_path), path)

    settings = load_settings(path, {})

    assert "http://127.0.0.1:8080" == settings.issuer
    assert list(CLIENTS) == [client.id for client in settings.clients]
    assert tmp_path / "policies" == settings.policy.path


def test_the_configuration_holds_no_secret(tmp_path: Path):
    """Only their hashes; each secret is in a file that only its owner reads."""
    clients = load_clients(tmp_path)
    path = tmp_path / "broker.yaml"
    write_document(document(tmp_path, clients=clients), path)

    for name in CLIENTS:
        secret = clients.file(name).read_text()
        assert secret not in path.read_text()
        assert hashlib.sha256(secret.encode()).hexdigest() in path.read_text()
        assert 0o600 == clients.file(name).stat().st_mode & 0o777
        assert len(secret) >= 43  # 256 bits
        assert secret not in repr(clients)


def test_secrets_stay_from_start_to_start(tmp_path: Path):
    """A curl line from yesterday works today."""
    assert load_clients(tmp_path).secrets == load_clients(tmp_path).secrets
