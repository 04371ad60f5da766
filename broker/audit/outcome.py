"""The records of exchanges, of counted refusals, of administration and of writers.

``vault`` seals what is personal in them; without one they are for whoever looks, not for storing.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from broker.audit.event import (
    VERSION,
    Event,
    bounded_document,
    bounded_json,
    build_event,
    render_text,
    render_texts,
    render_time,
)
from broker.audit.proxied import describe_question
from broker.audit.vault import Vault
from broker.domain import (
    INPUT_VERSION,
    Attempt,
    Evaluation,
    Principal,
    ReusedToken,
    SignedToken,
    TokenExchangeRequest,
    VerifiedToken,
)
from broker.errors import Reason

REUSE: Final = "reuse"  # the action of an exchange that was answered with a token of before


def build_issued(
    attempt: Attempt, signed: SignedToken, *, issuer: str, vault: Vault | None = None
) -> Event:
    """Return the event of a token that may leave once this is durable; its id is the ``jti``."""
    record = _given(attempt, signed, issuer) | {"jti": signed.id}
    return build_event(record, vault)


def build_reused(
    attempt: Attempt, reused: ReusedToken, *, issuer: str, vault: Vault | None = None
) -> Event:
    """Return the event of a token that may leave once more: who asked, and which one it is."""
    record = _given(attempt, reused, issuer) | {"action": REUSE, "jti": reused.jti}
    return build_event(record, vault)


def _given(attempt: Attempt, signed: SignedToken | ReusedToken, issuer: str) -> dict[str, Any]:
    """Return what is said of a token, whether it is new or not."""
    permit = signed.permit
    record = _exchange(attempt, signed.id, issuer, permit.evaluation, permit.chain)
    record |= {
        "outcome": "issued",
        "targets": [target.name for target in permit.targets],
        "scopes": list(permit.scopes),
        "derived": [{"from": one.source, "scope": one.scope} for one in permit.derived],
        "purpose": permit.purpose,
        "mode": permit.mode,
        "max_depth": permit.max_depth,
        "txn": signed.txn,
        "kid": signed.kid,
        "issued_at": render_time(signed.issued_at),
        "root_issued_at": render_time(permit.exchange.subject.root_issued_at),
        "expires_at": render_time(signed.expires_at),
        "lifetime": int((signed.expires_at - signed.issued_at).total_seconds()),
        "token_sha256": sha256(signed.token.encode()).hexdigest(),
    }
    if permit.obligations:
        record["obligations"] = list(permit.obligations)
    return record


def build_refused(
    attempt: Attempt,
    reason: Reason,
    *,
    id: str,  # noqa: A002 — the column's name
    issuer: str,
    vault: Vault | None = None,
) -> Event:
    """Return the event of a refusal: what was known by then, and every reason."""
    deny = attempt.deny
    evaluation = attempt.evaluation or (deny.evaluation if deny else None)
    chain: tuple[Principal, ...] = ()
    if attempt.delegation is not None:
        chain = attempt.delegation.chain
    elif attempt.subject is not None:
        chain = attempt.subject.chain
    record = _exchange(attempt, id, issuer, evaluation, chain)
    # The one that is answered comes first, whatever else was found.
    reasons = dict.fromkeys((reason, *(deny.reasons if deny else ())))
    record |= {
        "outcome": "refused",
        "reasons": list(reasons),
        "targets": [target.name for target in attempt.exchange.targets] if attempt.exchange else [],
        "txn": attempt.subject.txn if attempt.subject else None,
        "violations": list(deny.violations) if deny else [],
    }
    if attempt.revocation is not None:
        record["revocation"] = attempt.revocation
    return build_event(record, vault)


def build_counted(
    counts: Mapping[str, int],
    sources: Mapping[str, int],
    *,
    id: str,  # noqa: A002 — the column's name
    since: datetime,
    until: datetime,
    vault: Vault | None = None,
) -> Event:
    """Return the event of all refusals before authentication that were counted in an interval."""
    return build_event(
        {
            "version": VERSION,
            "kind": "refusals",
            "id": id,
            "at": render_time(until),
            "since": render_time(since),
            "outcome": "refused",
            "counts": dict(counts),
            "total": sum(counts.values()),
            "personal": {"sources": {render_text(name): n for name, n in sources.items()}},
        },
        vault,
    )


def build_administration(
    action: str,
    details: Mapping[str, Any],
    *,
    id: str,  # noqa: A002 — the column's name
    at: datetime,
    by: str,
    personal: Mapping[str, Any] | None = None,
    vault: Vault | None = None,
) -> Event:
    """Return the event of something done to the broker; ``details`` hold no secret.

    ``personal`` is what else than ``by`` identifies a person.
    """
    return build_event(
        {
            "version": VERSION,
            "kind": "administration",
            "id": id,
            "at": render_time(at),
            "outcome": "done",
            "action": action,
            "details": dict(details),
            "personal": {**(personal or {}), "by": by},
        },
        vault,
    )


def build_writer(
    action: str,
    writer: str,
    *,
    id: str,  # noqa: A002 — the column's name
    at: datetime,
) -> Event:
    """Return the event of a writer's beginning or end: the first and the last of its rows."""
    return build_event(
        {
            "version": VERSION,
            "kind": "writer",
            "id": id,
            "at": render_time(at),
            "outcome": "done",
            "action": action,
            "writer": writer,
        }
    )


def _exchange(
    attempt: Attempt,
    id: str,  # noqa: A002 — the column's name
    issuer: str,
    evaluation: Evaluation | None,
    chain: tuple[Principal, ...],
) -> dict[str, Any]:
    """Return what issued and refused exchanges have in common, as far as it is known."""
    client, subject, delegation = attempt.client, attempt.subject, attempt.delegation
    personal: dict[str, Any] = {
        "source": render_text(attempt.source),
        "subject": _principal(subject.principal) if subject else None,
        "actors": [_principal(actor) for actor in chain],
    }
    record: dict[str, Any] = {
        "version": VERSION,
        "kind": attempt.kind,
        "id": id,
        "at": render_time(attempt.at),
        "request_id": attempt.id,
        "issuer": issuer,
        "client": {"id": client.id, "auth_method": client.auth_method} if client else None,
        "asked": _asked(attempt.request) if attempt.request else None,
        "subject_token": _presented(attempt, "subject"),
        "actor_token": _presented(attempt, "actor"),
        "parent": _parent(subject) if subject else None,
        "personal": personal,
    }
    if attempt.proxied is not None:
        record["asked"] = describe_question(attempt.proxied)
    if delegation is not None:
        record["depth"] = delegation.depth
        record["reenters"] = delegation.reenters
    if evaluation is not None:
        record["policy"] = {
            "revision": evaluation.revision,
            "decision_id": evaluation.decision_id,
        }
        if attempt.proxied is None:
            record["policy"]["input_version"] = INPUT_VERSION
        personal["policy_input"] = bounded_json(evaluation.input)
        personal["decision"] = bounded_document(evaluation.output)
    return record


def _asked(request: TokenExchangeRequest) -> dict[str, Any]:
    return {
        "audiences": render_texts(request.audiences),
        "resources": render_texts(request.resources),
        "scope": None if request.scope is None else render_text(request.scope),
        "purpose": None if request.purpose is None else render_text(request.purpose),
        "requested_token_type": request.requested_token_type,
    }


def _presented(attempt: Attempt, which: str) -> dict[str, Any] | None:
    """Return what a presented token is known by: once verified, also by its issuer and kind."""
    verified = attempt.subject if which == "subject" else attempt.actor
    if verified is not None:
        return {
            "sha256": verified.digest,
            "declared_type": verified.token_type,
            "typ": verified.typ,
            "issuer": verified.asserted_by,
            "jti": verified.jti,
            "kid": verified.kid,
            "expires_at": render_time(verified.expires_at),
        }
    request = attempt.request
    if request is None:
        return None
    unverified, declared = (
        (request.unverified_subject_token, request.subject_token_type)
        if which == "subject"
        else (request.unverified_actor_token, request.actor_token_type)
    )
    if unverified is None:
        return None
    return {
        "sha256": sha256(unverified.encode()).hexdigest(),
        "declared_type": render_text(declared or ""),
    }


def _parent(subject: VerifiedToken) -> str:
    # A foreign token need not have a ``jti``; its digest names it as well.
    return f"sha256:{subject.digest}" if subject.jti is None else subject.jti


def _principal(principal: Principal) -> dict[str, str]:
    return {"issuer": principal.issuer, "subject": principal.subject}
