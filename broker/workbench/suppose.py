"""A question as the exchange that it would be: steps 2 and 3 on what is supposed of the tokens.

What a signature would prove is taken as given. All else is the pipeline's own code over the same
configuration: which targets are meant, who may present whose tokens, who acts, how deep it goes.
The other one of two modules that make a ``VerifiedToken``, and nothing made of it can be signed:
the package may not import what mints.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from broker.clients.registry import build_client
from broker.domain import (
    Client,
    Credentials,
    Exchange,
    Principal,
    TokenExchangeRequest,
    VerifiedToken,
)
from broker.errors import ConfigurationError
from broker.issuers.registry import own_issuer
from broker.policy.targets import TargetRegistry
from broker.settings import Settings, TrustedIssuer
from broker.tokens.delegation import delegate
from broker.tokens.refusal import Cause, Role, TokenRefused
from broker.workbench.question import Question, SupposedToken

_NO_DIGEST: Final = "0" * 64


def suppose(question: Question, settings: Settings) -> Exchange:
    """Return the exchange that step 4 would be asked about.

    Raises ``ConfigurationError`` if the question names a client or issuer that is not configured,
    and ``Rejected`` as the pipeline would: for a target, for who presents whose token, or for the
    delegation.
    """
    client = find_client(question.client, settings)
    subject = _token(question.subject, client, question.at, settings, "subject")
    actor = None
    if question.actor is not None:
        actor = _token(question.actor, client, question.at, settings, "actor")
    request = TokenExchangeRequest(
        id=question.id,
        source=question.source,
        credentials=Credentials(),
        unverified_subject_token="",
        subject_token_type=question.subject.token_type.value,
        requested_token_type=question.requested_token_type,
        audiences=question.audiences,
        resources=question.resources,
        scope=" ".join(question.scopes) or None,
        purpose=question.purpose,
    )
    return Exchange(
        request=request,
        at=question.at,
        client=client,
        subject=subject,
        actor=actor,
        delegation=delegate(subject, actor, client, ceiling=settings.max_delegation_depth),
        targets=TargetRegistry(settings.targets, max_targets=settings.max_targets).find(
            request, client
        ),
        scopes=tuple(dict.fromkeys(question.scopes)),
    )


def find_client(name: str, settings: Settings) -> Client:
    """Return the configured client; raises ``ConfigurationError`` that names those there are."""
    for each in settings.clients:
        if each.id == name:
            return build_client(each, settings.issuer)
    raise ConfigurationError(f"{name} is no client; there are: {_names(settings.clients, 'id')}")


def find_issuer(name: str, settings: Settings) -> TrustedIssuer:
    """Return the trusted issuer of this alias or identifier, ours included as ``self``.

    Raises ``ConfigurationError`` that names those there are.
    """
    ours = own_issuer(settings.issuer)
    for each in (*settings.issuers, ours):
        if name in (each.alias, each.issuer):
            return each
    raise ConfigurationError(
        f"{name} is no issuer; there are: {_names((*settings.issuers, ours), 'alias')}"
    )


def _token(
    supposed: SupposedToken, client: Client, at: datetime, settings: Settings, role: Role
) -> VerifiedToken:
    issuer = find_issuer(supposed.issuer, settings)
    if "*" not in issuer.clients and client.id not in issuer.clients:
        raise TokenRefused(Cause.ISSUER_NOT_FOR_CLIENT).rejection(role)
    issued_at = at - supposed.age
    return VerifiedToken(
        principal=Principal(issuer.issuer, supposed.subject),
        asserted_by=settings.issuer if supposed.exchanged else issuer.issuer,
        local_subject=supposed.subject,
        token_type=supposed.token_type.value,
        typ=None,
        audiences=supposed.audiences or (client.id,),
        scopes=supposed.scopes,
        issued_at=issued_at,
        expires_at=at + supposed.life,
        jti=None,
        digest=_NO_DIGEST,
        lineage_id="",
        root_issued_at=issued_at,
        key_id="",
        client_id=supposed.client_id,
        chain=supposed.chain,
        may_act=supposed.may_act,
        delegation_depth=supposed.depth,
        max_delegation_depth=supposed.max_depth,
        claims=supposed.claims,
        policy_claims={
            name: value for name, value in supposed.claims.items() if name in issuer.policy_claims
        },
        # What was derived from an identity once has been granted, and no more.
        scopeless=issuer.scopeless and not supposed.exchanged,
        one_time=issuer.one_time,
    )


def _names(things: Iterable[object], member: str) -> str:
    return ", ".join(sorted(str(getattr(each, member)) for each in things)) or "none"
