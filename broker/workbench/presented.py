"""What step 2 would refuse of a supposed token, once its signature is taken as given.

The same rules as ``broker.tokens.verify`` has, in its order and with its numbers; a test presents
the same tokens to both. What only a signed token can be wrong in is not asked here: its form, its
key, its ``typ``, whether it was revoked or used before.
"""

from datetime import timedelta
from typing import Final

from broker.domain import Client, Principal
from broker.errors import Reason, Rejected, VerificationRejected
from broker.settings import Settings, TrustedIssuer
from broker.tokens.refusal import Cause, Role, TokenRefused
from broker.workbench.question import Question, SupposedToken
from broker.workbench.suppose import find_client, find_issuer

_NOTHING: Final = timedelta()
# What every supposed token has, or says by a member of its own.
_TAKEN_AS_GIVEN: Final = frozenset({"iss", "sub", "aud", "iat", "exp", "nbf", "jti"})


def find_refusal(question: Question, settings: Settings) -> Rejected | None:
    """Return why the tokens of a question would not be accepted; None if they would be.

    Raises ``ConfigurationError`` for a client or an issuer that is not configured.
    """
    client = find_client(question.client, settings)
    presented: tuple[tuple[Role, SupposedToken | None], ...] = (
        ("subject", question.subject),
        ("actor", question.actor),
    )
    for role, token in presented:
        if token is None:
            continue
        try:
            _check(role, token, client, settings)
        except TokenRefused as refused:
            return refused.rejection(role)
        except VerificationRejected as rejected:
            return rejected
    return None


def _check(role: Role, token: SupposedToken, client: Client, settings: Settings) -> None:
    origin = find_issuer(token.issuer, settings)
    asserts = find_issuer("self", settings) if token.exchanged else origin
    # (4) What it is declared to be.
    if token.token_type not in asserts.token_types:
        raise TokenRefused(Cause.TYPE_NOT_ACCEPTED)
    # (5) Its times: no leeway past its end, some for its age.
    if token.life <= _NOTHING:
        raise TokenRefused(Cause.EXPIRED)
    if token.age < -asserts.leeway:
        raise TokenRefused(Cause.NOT_YET_VALID)
    if token.age > asserts.max_age + asserts.leeway:
        raise TokenRefused(Cause.TOO_OLD)
    # (6) What it has to say, and what it may not.
    if not token.exchanged and not _said(token, origin).issuperset(origin.require):
        raise TokenRefused(Cause.CLAIM_MISSING)
    if role == "actor" and token.chain:
        raise VerificationRejected(Reason.ACTOR_TOKEN_HAS_CHAIN)
    _check_believed(token, asserts)
    # (7) Who may present it.
    if "*" not in origin.clients and client.id not in origin.clients:
        raise TokenRefused(Cause.ISSUER_NOT_FOR_CLIENT)
    # (8) For whom it was meant.
    if role == "subject":
        _check_meant_for(token, asserts, client, settings)
    else:
        _check_actors_own(token, asserts, client, settings)
    # And that its subject is not taken for a client.
    if not token.exchanged:
        _check_name(token, origin, client, settings)


def _said(token: SupposedToken, issuer: TrustedIssuer) -> set[str]:
    said = {*_TAKEN_AS_GIVEN, *token.claims}
    said |= {issuer.scope_claim} if token.scopes else set()
    return said | ({issuer.client_claim} if token.client_id is not None else set())


def _check_believed(token: SupposedToken, asserts: TrustedIssuer) -> None:
    said = {
        "act": bool(token.chain),
        "may_act": token.may_act is not None,
        "max_delegation_depth": token.max_depth is not None or token.depth > len(token.chain),
    }
    if any(present and name not in asserts.asserts for name, present in said.items()):
        raise TokenRefused(Cause.CLAIM_NOT_BELIEVED)


def _check_meant_for(
    token: SupposedToken, asserts: TrustedIssuer, client: Client, settings: Settings
) -> None:
    if token.may_act is not None and client.is_principal(token.may_act):
        return
    names = {client.id, settings.issuer, *asserts.audiences, *client.names_at(asserts.issuer)}
    for target in settings.targets:
        if target.name in client.targets:
            names |= {target.name, target.audience, *target.resources}
    if names.isdisjoint(token.audiences or (client.id,)):
        raise TokenRefused(Cause.AUDIENCE_MISMATCH)


def _check_actors_own(
    token: SupposedToken, asserts: TrustedIssuer, client: Client, settings: Settings
) -> None:
    if {settings.issuer, *asserts.audiences}.isdisjoint(token.audiences):
        raise TokenRefused(Cause.AUDIENCE_MISMATCH)
    if client.is_principal(Principal(find_issuer(token.issuer, settings).issuer, token.subject)):
        return
    if token.client_id not in client.names_at(asserts.issuer) | {client.id}:
        raise VerificationRejected(Reason.ACTOR_TOKEN_NOT_OF_CLIENT)


def _check_name(
    token: SupposedToken, origin: TrustedIssuer, client: Client, settings: Settings
) -> None:
    if client.is_principal(Principal(origin.issuer, token.subject)):
        return
    kept = origin.subject == "keep"
    local = token.subject if kept else f"{origin.alias}:{token.subject}"
    prefixes = tuple(f"{each.alias}:" for each in settings.issuers if each.subject != "keep")
    if kept and local.startswith(prefixes):
        raise TokenRefused(Cause.CLAIM_INVALID)
    if local in {each.id for each in settings.clients}:
        raise TokenRefused(Cause.SUBJECT_IS_CLIENT)
