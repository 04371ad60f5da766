"""A policy is activated, tried or rolled back: recorded first, then in force everywhere.

What holds: the bundle was opened as a replica would open it; its audit row is durable before the
activation is; and of two that do this at once the second one sees what the first one did.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from broker.policy.activation import Action, Activation, Mode, Share, State
from broker.policy.store import Order, PolicyLedger

ACTIVATED: Final = "policy.activate"  # the actions, as audit rows name them
ROLLED_BACK: Final = "policy.rollback"


class ActivationRefused(Exception):  # noqa: N818 — an answer to whoever asks
    """It would change nothing, or there is no way back; ``str()`` says which."""


class Record(Protocol):
    """What makes an audit row."""

    async def __call__(self, action: str, details: Mapping[str, Any], *, by: str) -> None:
        """Return once it is durable. Raises ``CommitRejected``."""


async def activate(
    ledger: PolicyLedger,
    record: Record,
    *,
    revision: str,
    archive: bytes | None,
    mode: Mode,
    share: Share | None = None,
    by: str,
    reason: str,
) -> Activation:
    """Return the activation once it is durable. ``archive``: None if the bundle is kept already.

    Raises ``ActivationRefused``, ``BundleUnknown``, ``PolicyLedgerUnavailable`` and
    ``CommitRejected``; then nothing has changed.
    """
    order = Order(Action.ACTIVATE, mode, revision, share or Share(), by, reason)

    def decide(state: State) -> Order:
        if revision == state.live and (mode is not Mode.ENFORCE or state.trial is None):
            raise ActivationRefused(f"{revision[:12]} is in force already")
        trial = state.trial
        if trial is not None and (revision, mode, order.share) == (
            *(trial.revision, trial.mode, trial.share),
        ):
            raise ActivationRefused(f"{revision[:12]} is tried already, and just so")
        return order

    return await _append(ledger, record, decide, archive)


async def roll_back(ledger: PolicyLedger, record: Record, *, by: str, reason: str) -> Activation:
    """Return the rollback once it is durable: the newest change is undone. Raises as above."""

    def decide(state: State) -> Order:
        back = state.way_back()
        if back is None:
            raise ActivationRefused(
                "what policy.path names is in force, and nothing was activated before it"
            )
        return Order(Action.ROLLBACK, Mode.ENFORCE, back, Share(), by, reason)

    return await _append(ledger, record, decide, None)


class _Decide(Protocol):
    def __call__(self, state: State) -> Order: ...


async def _append(
    ledger: PolicyLedger, record: Record, decide: _Decide, archive: bytes | None
) -> Activation:
    async def recorded(before: State, made: Activation) -> None:
        trial = before.trial
        details = {
            "activation": made.seq,
            "mode": made.mode.value,
            "policy_revision": made.revision or None,
            "previous": before.live or None,
            "previous_candidate": None if trial is None else trial.revision,
            "percent": made.share.percent,
            "clients": sorted(made.share.clients),
            "reason": made.reason,
        }
        action = ROLLED_BACK if made.action is Action.ROLLBACK else ACTIVATED
        await record(action, details, by=made.by)

    made = await ledger.append(decide, archive=archive, before_commit=recorded)
    assert made is not None  # noqa: S101 — ``decide`` always wants one, or raises
    return made
