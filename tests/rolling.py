"""Small policies that are rolled out: one that always says the same, and ones that misbehave."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from broker.db.engine import Database
from broker.policy.activation import Action, Mode, Share
from broker.policy.bundle import Bundle, build_bundle, render_archive
from broker.policy.follower import Follower
from broker.policy.rollout import Candidate, Decider, InForce, Rollout
from broker.policy.store import Order, PolicyLedger
from broker.policy.wasm import WasmEngine
from broker.settings import Policy, Settings
from tests.decisions import allowance

PATIENT = timedelta(seconds=5)  # for the policy in force: a busy machine is no fault here

# Answers an empty question at once, and every other one when the guest is ended.
SPINNING = """
decision := {"allow": false, "reasons": ["policy.denied"]} if not input.request

decision := count([1 | some i in _many; some j in _many; i == j]) if input.request

_many := numbers.range(1, 100000)
"""
TRAPPING = """
decision := {"allow": false, "reasons": ["policy.denied"]} if not input.request

decision := input.client.id if input.request

decision := input.request.id if input.request
"""
SHAPELESS = 'decision := "yes"'
SILENT = 'decision := {"allow": true} if input.nothing'


def saying(**overrides: Any) -> str:
    """A policy that always permits this."""
    return f"decision := {json.dumps(allowance(**overrides))}"


def make_bundle(folder: Path, text: str) -> Bundle:
    """Compile it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "decision.rego").write_text(f"package broker.exchange\n\n{text}\n")
    return build_bundle(folder)


def archive(bundle: Bundle, signer: Any = None) -> bytes:
    """The file of it."""
    return render_archive(bundle, "wasm", signer)


async def activate(
    ledger: PolicyLedger,
    bundle: Bundle | str,
    mode: Mode = Mode.ENFORCE,
    *,
    share: Share | None = None,
    content: bytes | None = None,
) -> None:
    """Write it into the ledger, whatever it is."""
    revision = bundle if isinstance(bundle, str) else bundle.revision
    packed = archive(bundle) if content is None and isinstance(bundle, Bundle) else content
    order = Order(Action.ACTIVATE, mode, revision, share or Share(), "tester", "a test")
    await ledger.append(lambda _: order, archive=packed)


class Process:
    """What a process has of the rollout: what it decides by, and what follows the ledger."""

    def __init__(self, database: Database, configured: Bundle, **policy: Any) -> None:
        self.ledger = PolicyLedger(database)
        self.rollout = Rollout()
        self.engine = InForce(WasmEngine(configured, deadline=PATIENT), self.rollout)
        self.decider = Decider(self.engine, self.rollout, 8)
        self.settings = Settings(issuer="https://broker.test", policy=Policy(**policy))
        self.ended: list[Candidate] = []
        self.follower = Follower(
            self.ledger,
            self.rollout,
            settings=lambda: self.settings,
            configured=lambda: configured.revision,
            ended=self._end,
            writer=uuid4(),
            place="here",
        )

    async def _end(self, candidate: Candidate) -> None:
        self.ended.append(candidate)

    async def aclose(self) -> None:
        """Let go of all engines."""
        self.rollout.close()
        await self.engine.aclose()


@asynccontextmanager
async def one_process(url: str, configured: Bundle, **policy: Any) -> AsyncIterator[Process]:
    """A process over this database."""
    database = Database(url)
    process = Process(database, configured, **policy)
    try:
        yield process
    finally:
        await process.aclose()
        await database.aclose()
