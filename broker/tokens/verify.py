"""Step 2, verify: whose token this is, what it says, and that it was meant to be presented here.

What holds when a ``VerifiedToken`` is returned; the code repeats the numbers:

(1) the declared type is one that we know (RFC 8693 §3);
(2) it is a compact JWS in strict form, or a reference token that stands for one, and nothing that
    it says is believed yet; or it is opaque, and by its form one issuer's that can be asked;
(3) its ``iss`` is exactly one configured issuer, and a key of that issuer, with an algorithm
    allowed for it, has signed it (RFC 8725 §3.1, §3.8); or that issuer says what it is (RFC 7662);
(4) its kind, its ``typ`` and its declared type go together and are accepted (RFC 8725 §3.11);
(5) it is valid now: past ``exp`` it is refused even within the leeway (invariant 2);
(6) it has the claims that its issuer's rules require, and none that the issuer may not assert;
(7) the issuer of the subject's origin, and for a token of ours the client that it was issued to,
    are still known here, and the client may present tokens of that issuer;
(8) a subject token was meant for this client (invariant 6); an actor token was meant for this
    broker and belongs to this client (design §4);
(9) where the configuration has its issuer asked about JWTs, that one says that it is active.

Who asks about a token of ours, to introspect or revoke it, presents it to nobody: then (7) and (8)
say nothing about a presenter, and all else holds; no issuer is asked then.

Until (3) holds every refusal has the same public text, so a forgery learns nothing. Nothing but
(2), (3) and (9) may wait: for our own table of reference tokens, and for an issuer that is
configured, for its keys or its answer.
RFC 7519 §4.1 and §7.2, RFC 8693 §2.1, RFC 9068 §4.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from broker.domain import Client, Principal, Target, TokenExchangeRequest, VerifiedToken
from broker.errors import Reason, VerificationRejected
from broker.issuers.fetch import FetchFault
from broker.issuers.jwks import KeysUnavailable
from broker.issuers.registry import IssuerRegistry
from broker.jose.compact import UnverifiedJws, parse_compact
from broker.jose.errors import AlgorithmNotAllowed, KeyUnknown, Malformed, SignatureInvalid
from broker.jose.jwk import KeySet
from broker.jose.verify import verify_signature
from broker.oauth import TokenType
from broker.settings import ClientSettings
from broker.tokens.actors import find_may_act, read_chain
from broker.tokens.ancestry import Ancestry, name_token, read_ancestry
from broker.tokens.claims import (
    Claims,
    find_count,
    find_name,
    read_audiences,
    read_date,
    read_name,
    read_scopes,
    require,
    to_datetime,
)
from broker.tokens.introspected import OpaqueTokens, check_not_revoked
from broker.tokens.kinds import accepts, kind_of
from broker.tokens.references import References, is_record_of
from broker.tokens.refusal import Cause, Role, TokenRefused
from broker.tokens.rules import IssuerRules, LocalNames, build_rules, rules_for_references
from broker.tokens.seen import SeenTokens
from broker.tokens.statement import Statement, state_signed

_DECLARED: Final = {str(token_type): token_type for token_type in TokenType}
# Metadata that is not the issuer's own makes it unusable (RFC 8414 §3.3): no outage, no retry.
_UNUSABLE: Final = frozenset({FetchFault.ISSUER_MISMATCH, FetchFault.FOREIGN_JWKS_URI})


@dataclass(frozen=True, slots=True)
class _Presented:
    """Who presents a token, and as what."""

    role: Role
    client: Client


class TokenVerifier:
    """Verifies subject and actor tokens against the rules of one configuration."""

    def __init__(
        self,
        registry: IssuerRegistry,
        *,
        issuer: str,
        clients: Iterable[ClientSettings],
        targets: Iterable[Target],
        references: References,
    ) -> None:
        """``issuer`` is our own; ``clients`` and ``targets`` are all that are configured."""
        named = {
            target.name: {target.name, target.audience, *target.resources} for target in targets
        }
        configured = tuple(clients)
        self._rules = build_rules(registry, issuer=issuer)
        self._own = self._rules[issuer]
        self._own_references = rules_for_references(self._own)
        self._references = references
        self._seen, self._seen_of_others = SeenTokens(), SeenTokens()
        self._opaque = OpaqueTokens(self._rules.values())
        # What names a client, wherever a token comes from: its id, and the targets that it is.
        self._names = {
            client.id: frozenset({client.id}.union(*(named[name] for name in client.targets)))
            for client in configured
        }
        self._local = LocalNames(
            (rules for rules in self._rules.values() if not rules.own), self._names
        )

    async def verify_subject(
        self, request: TokenExchangeRequest, client: Client, *, now: datetime
    ) -> VerifiedToken:
        """Return the subject token, verified.

        Raises ``VerificationRejected``: ``subject_token.…`` or ``issuer.unavailable``.
        """
        return await self._verify(
            "subject", request.unverified_subject_token, request.subject_token_type, client, now
        )

    async def verify_actor(
        self, request: TokenExchangeRequest, client: Client, *, now: datetime
    ) -> VerifiedToken | None:
        """Return the actor token, verified, or None if none was sent.

        Raises ``VerificationRejected``: ``actor_token.…`` or ``issuer.unavailable``.
        """
        if request.unverified_actor_token is None:
            return None
        return await self._verify(
            "actor", request.unverified_actor_token, request.actor_token_type or "", client, now
        )

    async def verify_own(self, unverified_token: str, *, now: datetime) -> VerifiedToken:
        """Return an access token of ours, verified, whoever presents it.

        Raises ``TokenRefused``, or ``VerificationRejected``: ``reference.unavailable`` or
        ``issuer.unavailable``.
        """
        record = await self._references.find(unverified_token)
        rules = self._own if record is None else self._own_references
        stated = await self._stated_by_us(unverified_token if record is None else record)
        return self._judge(None, rules, stated, unverified_token, TokenType.ACCESS_TOKEN, now)

    async def _stated_by_us(self, unverified_text: str) -> Statement:
        """(2) and (3), for what nobody but us may have signed."""
        try:
            keys = self._own.keys.at_hand(None, "")
        except KeysUnavailable as error:
            raise VerificationRejected(Reason.ISSUER_UNAVAILABLE) from error
        seen = self._seen.find(unverified_text, keys)
        if seen is not None:
            return seen
        unverified = _parse(unverified_text)
        # Before keys are asked for: nobody's introspection makes us fetch another issuer's.
        if unverified.unverified_claims.get("iss") != self._own.issuer:
            raise TokenRefused(Cause.ISSUER_UNKNOWN)
        return await self._signed(self._own, unverified)

    async def _verify(
        self, role: Role, unverified_token: str, declared: str, client: Client, now: datetime
    ) -> VerifiedToken:
        try:
            # (1) Before anything else: what is declared to be SAML is not even looked at.
            token_type = _DECLARED.get(declared)
            if token_type is None:
                raise TokenRefused(Cause.TYPE_NOT_ACCEPTED)
            rules, stated = await self._vouched(unverified_token, token_type, client)
            presented = _Presented(role, client)
            token = self._judge(presented, rules, stated, unverified_token, token_type, now)
            # (9) Last, so that nobody is asked about what is not accepted anyhow.
            await check_not_revoked(rules, unverified_token, stated.claims)
        except TokenRefused as refused:
            raise refused.rejection(role) from refused
        return token

    async def _vouched(
        self, unverified_token: str, token_type: TokenType, client: Client
    ) -> tuple[IssuerRules, Statement]:
        """(2) and (3): return what the token says, once a key or its issuer vouches for it."""
        try:
            rules, unverified = await self._resolve(unverified_token, token_type)
        except TokenRefused:
            # No JWT, and none of our reference tokens, which nobody else ever gets to see.
            opaque = self._opaque.find(unverified_token, token_type)
            if opaque is None:
                raise
            opaque.rules.check_presenter(client)
            return opaque.rules, await opaque.vouch_for(unverified_token)
        return rules, await self._signed(rules, unverified)

    async def _resolve(
        self, unverified_token: str, token_type: TokenType
    ) -> tuple[IssuerRules, UnverifiedJws]:
        """(2): return what the token says, and the rules of the issuer that it says it is of."""
        # An opaque text is an access token or nothing; nobody may call it a JWT (RFC 8693 §3).
        if token_type is TokenType.ACCESS_TOKEN:
            record = await self._references.find(unverified_token)
            if record is not None:
                return self._own_references, _parse(record)
        unverified = _parse(unverified_token)
        # One issuer is chosen by ``iss`` and its keys alone are tried; there is no second try.
        unverified_iss = unverified.unverified_claims.get("iss")
        rules = self._rules.get(unverified_iss) if isinstance(unverified_iss, str) else None
        if rules is None:
            raise TokenRefused(Cause.ISSUER_UNKNOWN)
        return rules, unverified

    async def _signed(self, rules: IssuerRules, unverified: UnverifiedJws) -> Statement:
        """(3): return header and claims once a key of the issuer has verified them."""
        # Before the keys are asked for, so that no token of this kind makes anybody fetch them.
        if unverified.alg not in rules.algorithms:
            raise TokenRefused(Cause.ALGORITHM_NOT_ALLOWED)
        try:
            keys = await rules.keys.keys(unverified.kid, unverified.alg)
            return self._state(rules, unverified, keys)
        except KeysUnavailable as error:
            if error.fault in _UNUSABLE:
                raise TokenRefused(Cause.ISSUER_UNKNOWN) from error
            raise VerificationRejected(Reason.ISSUER_UNAVAILABLE) from error
        except AlgorithmNotAllowed as error:
            raise TokenRefused(Cause.ALGORITHM_NOT_ALLOWED) from error
        except KeyUnknown as error:
            raise TokenRefused(Cause.KEY_UNKNOWN) from error
        except SignatureInvalid as error:
            raise TokenRefused(Cause.SIGNATURE_INVALID) from error

    def _state(self, rules: IssuerRules, unverified: UnverifiedJws, keys: KeySet) -> Statement:
        # Apart, so that tokens of others push out none that resource servers ask about.
        seen = self._seen if rules.own else self._seen_of_others
        stated = seen.find(unverified.token, keys)
        if stated is None:
            verified = verify_signature(unverified, keys, rules.algorithms)
            stated = state_signed(rules.issuer, verified)
            seen.remember(unverified.token, keys, stated)
        return stated

    def _judge(
        self,
        presented: _Presented | None,
        rules: IssuerRules,
        stated: Statement,
        token: str,
        token_type: TokenType,
        now: datetime,
    ) -> VerifiedToken:
        claims = stated.claims
        digest = hashlib.sha256(token.encode("ascii"))
        # A record is of one token: whoever could copy it into another row has issued nothing.
        if rules is self._own_references and not is_record_of(digest.digest(), stated.header):
            raise TokenRefused(Cause.REFERENCE_UNKNOWN)
        # (4) Neither the label nor the token alone says what kind it is.
        if stated.typ not in rules.typ or not accepts(
            token_type, kind_of(stated.typ, claims), rules.token_types
        ):
            raise TokenRefused(Cause.TYPE_NOT_ACCEPTED)

        # (5) In the issuer's leeway, and never past ``exp``.
        issued_at, expires_at = _read_times(claims, rules, now)

        # (6) What is missing, malformed or not this issuer's to say is never passed over.
        require(claims, rules.require)
        subject = read_name(claims, "sub")
        audiences = read_audiences(claims)
        jti = find_name(claims, "jti")
        if presented is not None and presented.role == "actor" and "act" in claims:
            raise VerificationRejected(Reason.ACTOR_TOKEN_HAS_CHAIN)
        rules.check_believed(claims)
        may_act = find_may_act(claims, rules.issuer)

        # (7) Identity is that of the origin, on every hop, and so is who may deal in it.
        principal = _read_origin(claims) if rules.own else Principal(rules.issuer, subject)
        origin = self._rules.get(principal.issuer)
        if origin is None:
            # Descends from an issuer that is trusted no longer.
            raise TokenRefused(Cause.ISSUER_UNKNOWN)
        client_id = find_name(claims, rules.client_claim)
        if rules.own and client_id not in self._names:
            raise TokenRefused(Cause.CLIENT_UNKNOWN)

        local_subject = subject
        if presented is not None:
            client = presented.client
            origin.check_presenter(client)
            # (8) A token that was sent to somebody else is no use to whoever got hold of it.
            if presented.role == "subject":
                self._check_meant_for(client, audiences, rules, may_act)
            else:
                _check_actors_own(client, audiences, rules, principal, claims)
            if not rules.own:
                local_subject = self._local.name(principal, rules, client)

        ancestry = read_ancestry(claims) if rules.own else Ancestry(issued_at)
        return VerifiedToken(
            principal=principal,
            asserted_by=rules.issuer,
            local_subject=local_subject,
            token_type=token_type.value,
            typ=stated.typ,
            audiences=audiences,
            scopes=read_scopes(claims, rules.scope_claim),
            issued_at=issued_at,
            expires_at=expires_at,
            jti=jti,
            digest=digest.hexdigest(),
            lineage_id=name_token(rules.issuer, jti, digest.digest()),
            root_issued_at=ancestry.root_issued_at,
            key_id=stated.key_id,
            kid=stated.kid,
            client_id=client_id,
            chain=read_chain(claims, rules.issuer),
            may_act=may_act,
            delegation_depth=find_count(claims, "delegation_depth") or 0,
            max_delegation_depth=find_count(claims, "max_delegation_depth"),
            txn=read_name(claims, "txn") if rules.own else None,
            lineage=ancestry.tokens,
            lineage_keys=ancestry.keys,
            lineage_clients=ancestry.clients,
            claims=claims,
            # Ours carry on what the target asked for; policy sees no more of it than at first.
            policy_claims={name: claims[name] for name in origin.policy_claims if name in claims},
            # Not of ours: what was derived from an identity once has been granted, and no more.
            scopeless=rules.scopeless,
            one_time=rules.one_time,
        )

    def _check_meant_for(
        self,
        client: Client,
        audiences: tuple[str, ...],
        rules: IssuerRules,
        may_act: Principal | None,
    ) -> None:
        """Refuse a subject token that was meant for somebody else (invariant 6, TX-2.1-24)."""
        # ``may_act`` is believed by now, and naming the client it says more than ``aud`` does.
        if may_act is not None and client.is_principal(may_act):
            return
        names = self._names.get(client.id, frozenset())
        if not (
            any(audience in names or audience in rules.broker_names for audience in audiences)
            or not client.names_at(rules.issuer).isdisjoint(audiences)
        ):
            raise TokenRefused(Cause.AUDIENCE_MISMATCH)


def _parse(unverified_token: str) -> UnverifiedJws:
    try:
        return parse_compact(unverified_token)
    except Malformed as error:
        raise TokenRefused(Cause.MALFORMED) from error


def _check_actors_own(
    client: Client,
    audiences: tuple[str, ...],
    rules: IssuerRules,
    principal: Principal,
    claims: Claims,
) -> None:
    """Refuse an actor token that is not this client's own, made for this broker (TX-2.1-10)."""
    if rules.broker_names.isdisjoint(audiences):
        raise TokenRefused(Cause.AUDIENCE_MISMATCH)
    if client.is_principal(principal):
        return
    names = client.names_at(rules.issuer) | {client.id}
    for claim in ("client_id", "azp", rules.client_claim):
        value = claims.get(claim)
        if isinstance(value, str) and value in names:
            return
    raise VerificationRejected(Reason.ACTOR_TOKEN_NOT_OF_CLIENT)


def _read_times(claims: Claims, rules: IssuerRules, now: datetime) -> tuple[datetime, datetime]:
    """Return ``iat`` and ``exp`` of a token that is valid now. RFC 7519 §4.1.4 to §4.1.6."""
    current = now.timestamp()
    expires, issued = read_date(claims, "exp"), read_date(claims, "iat")
    begins = read_date(claims, "nbf") if "nbf" in claims else issued
    # No leeway here: what is issued lives no longer than this (invariant 2), so within the leeway
    # it would be dead on arrival. Down to the second, because so is the ``exp`` that follows.
    expires_at = to_datetime(expires)
    if now >= expires_at:
        raise TokenRefused(Cause.EXPIRED)
    latest = current + rules.leeway
    if issued > latest or begins > latest:
        raise TokenRefused(Cause.NOT_YET_VALID)
    if issued > expires or begins > expires:
        raise TokenRefused(Cause.CLAIM_INVALID)
    if current - issued > rules.max_age + rules.leeway:
        raise TokenRefused(Cause.TOO_OLD)
    return to_datetime(issued), expires_at


def _read_origin(claims: Claims) -> Principal:
    """Return whose token of ours this is: from ``sub_id``, never from ``sub``. RFC 9493 §3.2.3."""
    sub_id = claims.get("sub_id")
    if not isinstance(sub_id, dict) or sub_id.get("format") != "iss_sub":
        raise TokenRefused(Cause.CLAIM_INVALID)
    return Principal(read_name(sub_id, "iss"), read_name(sub_id, "sub"))
