"""Configurations for ``broker check`` and ``broker doctor``: one that is well, and its faults."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from broker.cli import build_app
from tests.jwts import public_jwk
from tests.server import write_configuration

# Nothing listens there, and nothing ever will: the discard port of this machine.
NOWHERE = "postgresql://broker_app@127.0.0.1:9/broker"

Change = Callable[[dict[str, Any], Path], None]


def configured(folder: Path, change: Change | None = None, *, database_url: str = NOWHERE) -> Path:
    """Write a configuration that is well, changed by ``change``; return its file.

    ``change`` is given the document and the folder that its paths are relative to.
    """
    path = write_configuration(folder, database_url)
    written = yaml.safe_load(path.read_text())
    # Each client that the suite's configuration lets share a key gets one of its own.
    written["clients"] = [
        client for client in written["clients"] if client["id"] != "svc-jwt-endpoint"
    ]
    grants = folder / "policies/broker/grants/data.yaml"
    granted = yaml.safe_load(grants.read_text())
    granted.pop("svc-jwt-endpoint", None)
    grants.write_text(yaml.safe_dump(granted))
    if change is not None:
        change(written, folder)
    path.write_text(yaml.safe_dump(written))
    return path


def diagnose(command: str, config: Path, *options: str) -> Result:
    """Run ``broker check`` or ``broker doctor`` on a configuration, as JSON."""
    arguments = [command, "--config", str(config), "--format", "json", *options]
    return CliRunner().invoke(build_app({command}), arguments)


def findings(result: Result) -> list[dict[str, str]]:
    """What was found, the worst mark first."""
    order = {"bad": 0, "warning": 1, "good": 2}
    found = json.loads(result.stdout)["findings"]
    return sorted(found, key=lambda finding: order[finding["mark"]])


def key_set(*keys: Any, **members: Any) -> dict[str, Any]:
    """A JWK set of these keys."""
    return {"keys": [public_jwk(key, **members) for key in keys]}
