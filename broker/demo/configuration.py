"""The configuration of the demo: three services, one issuer, everything on loopback."""

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

HOST: Final = "127.0.0.1"
CLIENTS: Final = ("checkout", "inventory", "ledger")
_SCOPES: Final = {
    "checkout": ["orders.read", "orders.write"],
    "inventory": ["inventory.read", "inventory.write", "stock.read"],
    "ledger": ["ledger.append", "ledger.read"],
}
_HEADER: Final = """\
# Written by `broker dev` at every start, so changes made here are lost.
# What a configuration of your own may say: docs/reference/configuration.md
"""


@dataclass(frozen=True, slots=True)
class DemoClients:
    """The secrets of the demo's clients, each in a file of its own that only its owner reads."""

    folder: Path
    secrets: Mapping[str, str] = field(repr=False)

    def file(self, client_id: str) -> Path:
        """Return where the secret of a client is."""
        return self.folder / f"{client_id}.secret"


def load_clients(folder: Path) -> DemoClients:
    """Return the demo's clients, with secrets that are made once and then stay."""
    folder.mkdir(parents=True, exist_ok=True)
    clients = DemoClients(folder, {})
    return DemoClients(folder, {name: load_secret(clients.file(name)) for name in CLIENTS})


def build_document(
    *,
    issuer: str,
    jwks_uri: str,
    port: int,
    admin_port: int,
    policies: Path,
    clients: DemoClients,
    admin_token_file: Path,
    database: Mapping[str, str],
    kek_file: Path,
    audit_key_file: Path,
    checkpoint_key_file: Path,
) -> dict[str, Any]:
    """Return the demo's ``broker.yaml``; ``database`` is its section of that name."""
    return {
        "issuer": f"http://{HOST}:{port}",
        "listen": {"host": HOST, "port": port},
        "admin": {"host": HOST, "port": admin_port, "token_file": str(admin_token_file)},
        "database": dict(database),
        "keys": {"kek_file": str(kek_file)},
        "audit": {
            "key_file": str(audit_key_file),
            "checkpoints": {
                "key_file": str(checkpoint_key_file),
                "file": str(checkpoint_key_file.with_name("checkpoints.txt")),
                "every": "1s",
            },
        },
        "policy": {"engine": "wasm", "path": str(policies)},
        "issuers": [
            {
                "issuer": issuer,
                "alias": "demo",
                "jwks_uri": jwks_uri,
                "allow_private_network": True,
                "algorithms": ["ES256"],
                "asserts": ["max_delegation_depth"],
                "require": ["jti"],
            }
        ],
        "clients": [
            {"id": name, "targets": [name], "secrets": [_digest(clients.secrets[name])]}
            for name in CLIENTS
        ],
        "targets": [{"name": name, "scopes": scopes} for name, scopes in _SCOPES.items()],
    }


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write the configuration where ``broker check`` and ``broker doctor`` can be tried on it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HEADER + yaml.safe_dump(dict(document), sort_keys=False))


def load_secret(path: Path) -> str:
    """Return the secret of a file that only its owner reads; it is made once and then stays."""
    try:
        # Exclusively, and from the start only for its owner: two starts make one secret.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        secret = secrets.token_urlsafe(32)
        file.write(secret)
    return secret


def _digest(secret: str) -> str:
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"
