"""What an issued access token says. RFC 9068 §2.2, RFC 8693 §4, RFC 9493 §3.2.3.

Every value comes from the permit, that is from verified tokens and configuration; from the
request itself only what was permitted of it.
"""

from datetime import datetime
from typing import Any

from broker.domain import JsonObject, Permit, Principal
from broker.oauth import RESERVED_CLAIMS


def build_claims(permit: Permit, *, issuer: str, id: str, now: datetime) -> dict[str, Any]:  # noqa: A002 — the claim's meaning
    """Return the claims of the token that ``permit`` allows. Times are in whole seconds.

    ``id`` becomes the ``jti``, and for the root exchange the ``txn`` of all that follows.
    """
    exchange = permit.exchange
    subject = exchange.subject
    issued_at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": subject.local_subject,
        # The origin, constant over all hops: ``sub`` is a name of ours, this is who it is.
        "sub_id": {
            "format": "iss_sub",
            "iss": subject.principal.issuer,
            "sub": subject.principal.subject,
        },
        "aud": _audience(permit),
        "client_id": exchange.client.id,
        "scope": " ".join(permit.scopes),  # never empty: the floor refuses that
        "iat": issued_at,
        "nbf": issued_at,
        "exp": int(permit.expires_at.timestamp()),
        "jti": id,
        "txn": id if subject.txn is None else subject.txn,
        # What it descends from, so that whatever of it is revoked is found in the token itself.
        "lineage": [*subject.lineage, subject.lineage_id],
        "lineage_keys": _distinct(*subject.lineage_keys, subject.key_id),
        "lineage_clients": _distinct(*subject.lineage_clients, exchange.client.id),
        "root_iat": int(subject.root_issued_at.timestamp()),
        "delegation_depth": exchange.delegation.depth,
        "max_delegation_depth": permit.max_depth,
    }
    if permit.chain:
        claims["act"] = build_act(permit.chain)
    if permit.purpose is not None:
        claims["purpose"] = permit.purpose
    return {**claims, **_mapped(permit.claims)}


def build_act(chain: tuple[Principal, ...]) -> dict[str, Any]:
    """Return ``chain``, current actor first, as nested ``act`` objects. RFC 8693 §4.1.

    Identity members only: no time, audience or scope of an actor's token has a meaning here.
    """
    current, *prior = chain
    act = {"iss": current.issuer, "sub": current.subject}
    return {**act, "act": build_act(tuple(prior))} if prior else act


def _distinct(*names: str) -> list[str]:
    """Return each name once, in the order in which they came first."""
    return list(dict.fromkeys(names))


def _audience(permit: Permit) -> str | list[str]:
    """Return the targets' identifiers: one as a string, several as an array. RFC 7519 §4.1.3."""
    audiences = list(dict.fromkeys(target.audience for target in permit.targets))
    return audiences[0] if len(audiences) == 1 else audiences


def _mapped(claims: JsonObject) -> JsonObject:
    # The settings refuse such a target and the floor such a decision. Were both to fail, a
    # subject could write its own audience or chain: rather no token than that one.
    if not RESERVED_CLAIMS.isdisjoint(claims):
        raise ValueError("a mapped claim has a name that the broker writes itself")
    return claims
