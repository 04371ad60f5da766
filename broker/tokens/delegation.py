"""Step 3, delegate: who acts now, and how many exchanges are left.

What holds when ``delegate`` returns (invariants 3, 4, 5 and 9 of the design):

(1) if the subject token names who may act, the acting party is that one;
(2) the subject's chain is the tail of the new one, complete and in order;
(3) the exchange count is within the ceiling and within the subject's own limit;
(4) a party that had acted before, or is the subject, is marked when it comes back.

The grant's ``max_depth``, ``reentry`` and ``mode`` are judged in step 4, because only
there is the grant known. RFC 8693 §1.1 (delegation), §4.1 (act), §4.4 (may_act).
"""

from broker.domain import Client, Delegation, Principal, VerifiedToken
from broker.errors import DelegationRejected, Reason


def delegate(
    subject: VerifiedToken, actor: VerifiedToken | None, client: Client, *, ceiling: int
) -> Delegation:
    """Return the subject's chain with the party that acts now put in front.

    ``ceiling`` is ``max_delegation_depth`` of the settings, in exchanges.

    Raises ``DelegationRejected``: ``delegation.may_act_mismatch`` (RFC 8693 §4.4),
    ``delegation.depth_exceeded`` or ``delegation.lineage_exceeded`` (ours: the RFC sets no bound).
    """
    # Leaving ``actor_token`` out must not hide who acts: then the client is the actor.
    # A chain inside the actor token was refused before; it is not the subject's history.
    acting = client.principal if actor is None else actor.principal
    names = _names_of(acting, client)

    # (1) Compared as a pair: the same ``sub`` at another issuer is somebody else.
    if subject.may_act is not None and subject.may_act not in names:
        raise DelegationRejected(Reason.DELEGATION_MAY_ACT_MISMATCH)

    # (2) The only line where a chain grows. Acting for oneself is no delegation, and
    # the current actor who presents its own token is already in front.
    current = subject.chain[0] if subject.chain else subject.principal
    continues = current in names
    chain = subject.chain if continues else (acting, *subject.chain)

    # (3) Exchanges are counted, not links: an impersonation hop leaves no link, and must not be
    # free. The smaller bound wins, so a hop can lower the subject's limit and never raise it.
    # ``is None``, not truthiness: a limit of 0 is a limit.
    depth = max(subject.delegation_depth, len(subject.chain)) + 1
    claimed = subject.max_delegation_depth
    max_depth = ceiling if claimed is None else min(ceiling, claimed)
    if depth > max_depth:
        raise DelegationRejected(Reason.DELEGATION_DEPTH_EXCEEDED)
    # A lineage longer than the exchanges that could have made it was not written by us.
    ancestry = (subject.lineage, subject.lineage_keys, subject.lineage_clients)
    if any(len(entries) > ceiling for entries in ancestry):
        raise DelegationRejected(Reason.DELEGATION_LINEAGE_EXCEEDED)

    # (4) Marked and not refused: the grant may say ``reentry: true``.
    before = {subject.principal, *subject.chain}
    return Delegation(
        acting=acting,
        chain=chain,
        subject_chain=subject.chain,
        depth=depth,
        max_depth=max_depth,
        reenters=not continues and not names.isdisjoint(before),
        actor_token=actor is not None,
    )


def _names_of(acting: Principal, client: Client) -> frozenset[Principal]:
    """Return every name of the acting party: a client's own, or just the one it came with."""
    # A client that is known elsewhere under another name must not pass as somebody new.
    if client.is_principal(acting):
        return client.known_as | {client.principal}
    return frozenset({acting})
