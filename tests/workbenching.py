"""A policy workbench that is served over a copy of the stock policy."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from broker.settings import Settings, load_settings
from broker.workbench.page.judge import Judge
from broker.workbench.page.scratch import Scratch
from broker.workbench.page.server import Workbench
from broker.workbench.scenarios.setting import PARTIES

STOCK = Path(__file__).parents[1] / "policies"
GRANTS = "broker/grants/data.yaml"
_PARTIES = """
issuer: http://127.0.0.1:8080
issuers:
  - {issuer: https://idp.example.com, alias: idp, discovery: true, algorithms: [ES256]}
clients:
  - {id: checkout, auth: private_key_jwt, jwks_uri: https://checkout.example.com/jwks}
  - id: inventory
    auth: private_key_jwt
    jwks_uri: https://inventory.example.com/jwks
    targets: [inventory]
targets:
  - {name: inventory, scopes: [inventory.read, inventory.write, stock.read]}
  - {name: ledger, scopes: [ledger.read, ledger.append]}
"""


def write_policy(folder: Path) -> Path:
    """The stock policy with a few of its tests, to be looked at and never written to."""
    policies = folder / "policies"
    shutil.copytree(STOCK, policies)
    for path in policies.rglob("*_test.rego"):
        if path.parent.name not in {"fixture", "loop", "mode"}:
            path.unlink()
    return policies


def parties(folder: Path) -> Settings:
    """Who there is."""
    path = folder / "broker.yaml"
    path.write_text(_PARTIES)
    return load_settings(path, {}, only=PARTIES)


@contextlib.asynccontextmanager
async def working(folder: Path, records: list[dict[str, Any]] | None = None) -> AsyncIterator[Any]:
    """A workbench over ``folder / "policies"``, and its scratch copy."""
    with Scratch(folder / "policies") as scratch:
        judge = Judge(scratch, parties(folder), records or ())
        async with Workbench(scratch, judge) as workbench:
            yield workbench, scratch
