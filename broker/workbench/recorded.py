"""A recorded policy input as the exchange that it was built from, for the floor to judge again.

``policies/schemas/input.json`` has all that the policy and the floor look at, so nothing that they
would decide is lost: ``build_input(read_exchange(input)) == input``.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from broker.domain import (
    Client,
    Credentials,
    Delegation,
    Exchange,
    Principal,
    Target,
    TokenExchangeRequest,
    VerifiedToken,
)
from broker.oauth import AuthMethod, TokenType

_NO_DIGEST: Final = "0" * 64


class NotReplayable(Exception):  # noqa: N818 — a property of a record, not an error of ours
    """The input is not one of this version. The text names the member, never its value."""


def read_exchange(document: Mapping[str, Any]) -> Exchange:
    """Return the exchange of a recorded input. Raises ``NotReplayable``."""
    try:
        return _exchange(document)
    except KeyError as error:
        raise NotReplayable(f"there is no {error.args[0]}") from None
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise NotReplayable("a member has another type than schemas/input.json says") from None


def _exchange(document: Mapping[str, Any]) -> Exchange:
    request, delegation = document["request"], document["delegation"]
    at = _time(request["time"])
    client = document["client"]
    chain = tuple(_principal(each) for each in delegation["chain"])
    acting = _principal(delegation["acting"])
    before = chain[1:] if _has_grown(chain, acting, document) else chain
    subject = _token(document["subject"], before, delegation["depth"] - 1)
    actor = document["actor"]
    return Exchange(
        request=TokenExchangeRequest(
            id=request["id"],
            source=request["source"],
            credentials=Credentials(),
            unverified_subject_token="",
            subject_token_type=subject.token_type,
            requested_token_type=TokenType(request["requested_token_type"]),
            audiences=tuple(request["audiences"]),
            resources=tuple(request["resources"]),
            scope=" ".join(request["scopes"]) or None,
            purpose=request["purpose"],
        ),
        at=at,
        client=Client(
            id=client["id"],
            principal=acting,
            auth_method=AuthMethod(client["auth_method"]),
            targets=frozenset(client["targets"]),
        ),
        subject=subject,
        actor=None if actor is None else _token(actor, (), 0),
        delegation=Delegation(
            acting=acting,
            chain=chain,
            subject_chain=before,
            depth=delegation["depth"],
            max_depth=delegation["max_depth"],
            reenters=delegation["reenters"],
            actor_token=delegation["actor_token"],
        ),
        targets=tuple(_target(each) for each in request["targets"]),
        scopes=tuple(request["scopes"]),
    )


def _has_grown(
    chain: tuple[Principal, ...], acting: Principal, document: Mapping[str, Any]
) -> bool:
    """Whether the acting party was put in front, which the input does not say in as many words.

    Whoever was there already and came back is marked; unmarked, it had been in front before.
    """
    subject = document["subject"]
    before = (Principal(subject["issuer"], subject["subject"]), *chain[1:])
    return chain[:1] == (acting,) and (document["delegation"]["reenters"] or acting not in before)


def _target(target: Mapping[str, Any]) -> Target:
    return _build_target(
        target["name"],
        target["audience"],
        tuple(target["scopes"]),
        target["max_lifetime"],
        tuple(target["claims"]),
    )


# A trail has few targets and many decisions about each, and a target is never changed.
@lru_cache(maxsize=1024)
def _build_target(
    name: str, audience: str, scopes: tuple[str, ...], max_lifetime: int, claims: tuple[str, ...]
) -> Target:
    return Target.model_construct(
        name=name,
        audience=audience,
        scopes=frozenset(scopes),
        max_lifetime=timedelta(seconds=max_lifetime),
        claims=claims,
    )


def _token(token: Mapping[str, Any], chain: tuple[Principal, ...], depth: int) -> VerifiedToken:
    issued_at = _time(token["issued_at"])
    return VerifiedToken(
        principal=Principal(token["issuer"], token["subject"]),
        asserted_by=token["issuer"],
        local_subject=token["subject"],
        token_type=token["token_type"],
        typ=None,
        audiences=tuple(token["audiences"]),
        scopes=frozenset(token["scopes"]),
        issued_at=issued_at,
        expires_at=_time(token["expires_at"]),
        jti=None,
        digest=_NO_DIGEST,
        lineage_id="",
        root_issued_at=issued_at,
        key_id="",
        client_id=token["client_id"],
        chain=chain,
        delegation_depth=depth,
        claims=token["claims"],
        policy_claims=token["claims"],
        scopeless=token["scopeless"],
    )


def _principal(principal: Mapping[str, Any]) -> Principal:
    return Principal(principal["issuer"], principal["subject"])


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
