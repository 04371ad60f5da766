"""What the policy is asked: an exchange as the JSON object of ``policies/schemas/input.json``.

Everything in it is verified or configured. Of the subject's own claims only those that its
issuer's ``policy_claims`` name are there, and the audit record holds no more than this either.
"""

from datetime import datetime
from typing import Any

from broker.domain import Exchange, Principal, Target, VerifiedToken


def build_input(exchange: Exchange) -> dict[str, Any]:
    """Return the policy input. Times in seconds since 1970, lifetimes in seconds, all whole.

    The clock is in it, so that a decision depends on nothing else and can be replayed.
    """
    request, client, delegation = exchange.request, exchange.client, exchange.delegation
    return {
        "request": {
            "id": request.id,
            "time": _seconds(exchange.at),
            "audiences": list(request.audiences),
            "resources": list(request.resources),
            "targets": [_target(target) for target in exchange.targets],
            "scopes": list(exchange.scopes),
            "requested_token_type": request.requested_token_type.value,
            "purpose": request.purpose,
            "source": request.source,
        },
        "client": {
            "id": client.id,
            "auth_method": client.auth_method.value,
            "targets": sorted(client.targets),
        },
        "subject": _token(exchange.subject),
        "actor": None if exchange.actor is None else _token(exchange.actor),
        "delegation": {
            "acting": _principal(delegation.acting),
            "chain": [_principal(principal) for principal in delegation.chain],
            "depth": delegation.depth,
            "max_depth": delegation.max_depth,
            "reenters": delegation.reenters,
            "actor_token": delegation.actor_token,
        },
    }


def _target(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "audience": target.audience,
        "scopes": sorted(target.scopes),
        "max_lifetime": int(target.max_lifetime.total_seconds()),
        "claims": list(target.claims),
    }


def _token(token: VerifiedToken) -> dict[str, Any]:
    return {
        "issuer": token.principal.issuer,
        "subject": token.principal.subject,
        "client_id": token.client_id,
        "token_type": token.token_type,
        "scopes": sorted(token.scopes),
        "scopeless": token.scopeless,
        "audiences": list(token.audiences),
        "issued_at": _seconds(token.issued_at),
        "expires_at": _seconds(token.expires_at),
        "claims": dict(token.policy_claims),
    }


def _principal(principal: Principal) -> dict[str, str]:
    return {"issuer": principal.issuer, "subject": principal.subject}


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
