"""Events that are as large as those of real exchanges, for benchmarks of the trail.

The stock policy's input and answer are in them, ids are UUIDs, kids and digests of their length:
3.3 KB a record once it is encrypted.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import orjson

from broker.audit.event import Event
from broker.audit.outcome import build_issued, build_refused
from broker.audit.vault import Vault
from broker.domain import Attempt, Principal, SignedToken
from broker.errors import Reason
from broker.policy.input import build_input
from tests import builders
from tests.audit import attempt, evaluation, new_id, now, signed_token

KID: Final = 43 * "k"  # an RFC 7638 thumbprint
_DIGEST: Final = 64 * "0"
_DECISION: Final[Mapping[str, Any]] = {
    "allow": True,
    "reasons": [],
    "targets": ["svc-b"],
    "scopes": ["orders.read"],
    "derived": [],
    "lifetime": 300,
    "mode": "delegation",
    "max_depth": 8,
    "reentry": False,
    "purpose": None,
    "claims": [],
    "obligations": [],
}


def permitted(subject: str) -> tuple[Attempt, SignedToken]:
    """Return an exchange that the stock policy permitted, and the token of it."""
    parent = builders.verified_token(
        principal=Principal(builders.IDP, subject), jti=str(uuid4()), kid=KID, digest=_DIGEST
    )
    request = builders.token_exchange_request(id=new_id())
    exchange = builders.exchange(subject=parent, request=request)
    made = attempt(exchange=exchange, at=now())
    answer = evaluation(
        revision=_DIGEST, input=orjson.dumps(build_input(exchange)), output=dict(_DECISION)
    )
    signed = signed_token(made, kid=KID, txn=new_id())
    return made, replace(signed, permit=replace(signed.permit, evaluation=answer))


def issued(subject: str, vault: Vault) -> Event:
    """Return the record of that."""
    return build_issued(*permitted(subject), issuer=builders.BROKER, vault=vault)


def refused(subject: str, vault: Vault) -> Event:
    """Return the record of the same exchange if its scope was not held."""
    made, signed = permitted(subject)
    made = replace(made, evaluation=signed.permit.evaluation)
    reason = Reason.POLICY_SCOPE_NOT_HELD
    return build_refused(made, reason, id=new_id(), issuer=builders.BROKER, vault=vault)


def unauthenticated(vault: Vault) -> Event:
    """Return the record of a request that was refused before much was known of it."""
    made = Attempt(new_id(), "192.0.2.1", now())
    reason = Reason.CLIENT_UNKNOWN
    return build_refused(made, reason, id=new_id(), issuer=builders.BROKER, vault=vault)
