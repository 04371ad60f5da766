"""What the database says of policies: which is in force, whether it loads, and who follows."""

import asyncio
from collections.abc import Iterator
from typing import Final

from broker.cli.console import short_revision
from broker.cli.findings import Finding, bad, good, warning
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.policy.activation import State, add_up
from broker.policy.follower import SEEN_WITHIN
from broker.policy.opening import check_bundle
from broker.policy.store import (
    BundleUnknown,
    PolicyLedger,
    PolicyLedgerUnavailable,
    Replica,
)
from broker.settings import Settings

_NAME: Final = "activated policy"
_MIGRATE: Final = "run: broker migrate, as the owner of the tables"
_LOOK: Final = "see broker policy status"


async def probe_policy(settings: Settings, database: Database) -> list[Finding]:
    """Return whether what was activated can be used here, and whether every process follows."""
    if settings.policy.engine != "wasm":
        return []
    ledger = PolicyLedger(database)
    try:
        state = add_up(await ledger.load())
        findings = [await _judge(settings, ledger, state)] if state.seq else []
        replicas = await ledger.find_replicas(SEEN_WITHIN)
    except PolicyLedgerUnavailable as error:
        return [bad(_NAME, str(error), _MIGRATE)]
    return [*findings, *_judge_replicas(state, list(replicas))]


async def _judge(settings: Settings, ledger: PolicyLedger, state: State) -> Finding:
    trial = state.trial
    wanted = [each for each in (state.live, trial.revision if trial else "") if each]
    for revision in wanted:
        try:
            archive = await ledger.load_bundle(revision)
            proxy = bool(settings.upstreams) and revision == state.live
            await asyncio.to_thread(check_bundle, archive, settings.policy, proxy=proxy)
        except (BundleUnknown, ConfigurationError) as error:
            remedy = "activate one that can be used, or: broker policy rollback"
            return bad(_NAME, f"{short_revision(revision)}: {error}", remedy)
    live = short_revision(state.live) or "what policy.path names"
    tried = f", and {short_revision(trial.revision)} is tried ({trial.mode})" if trial else ""
    return good(_NAME, f"{live} decides{tried}")


def _judge_replicas(state: State, replicas: list[Replica]) -> Iterator[Finding]:
    for each in replicas:
        if each.fault:
            yield warning(f"policy of {each.place}", each.fault, _LOOK)
    behind = [each for each in replicas if each.seq != state.seq]
    if behind or len({each.revision for each in replicas}) > 1:
        yield warning(_NAME, "running processes do not all decide by the same", _LOOK)
