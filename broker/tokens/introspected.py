"""Tokens that their issuer is asked about: opaque ones, and JWTs that may be revoked. RFC 7662.

An opaque token says nothing, not even whose it is, so where it may be sent is settled by its form:

(1) it is what a Bearer header can carry, and neither whole nor broken a JWT: those name their
    issuer, and are nobody else's to see;
(2) it is none of ours, and does not look like one, unless its issuer's ``prefix`` says otherwise;
(3) exactly one issuer is a candidate, which the configuration guarantees: there is no second try.

What the issuer answers is then judged like the claims of a JWT, and by the same rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from broker.blocklist.lineage import key_entry
from broker.errors import Reason, VerificationRejected
from broker.issuers.introspection import Introspector, NotAnswered
from broker.oauth import MAX_TOKEN, TOKEN_USAGE_BEARER, TokenType
from broker.tokens.claims import Claims
from broker.tokens.references import is_reference
from broker.tokens.refusal import Cause, TokenRefused
from broker.tokens.rules import IssuerRules, rules_for_opaque
from broker.tokens.statement import Statement

_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
_JOSE_DOTS: Final = frozenset({2, 4})  # of a JWS and of a JWE, RFC 7515 §7.1, RFC 7516 §7.1
_JOSE_START: Final = "eyJ"  # ``{"`` in base64url
# What some servers say beside RFC 7662, so that a refresh token is not taken for an access token.
_ACCESS_USES: Final = ("access_token", "access")
_SAME: Final = ("iss", "sub", "jti")  # what an answer about a JWT may not say otherwise


@dataclass(frozen=True, slots=True)
class OpaqueIssuer:
    """An issuer whose opaque tokens are accepted."""

    rules: IssuerRules
    introspector: Introspector

    async def vouch_for(self, unverified_token: str) -> Statement:
        """Return what the issuer says of an opaque token.

        Raises ``TokenRefused``, or ``VerificationRejected``: ``issuer.unavailable``.
        """
        issuer = self.rules.issuer
        try:
            claims = await self.introspector.ask(unverified_token)
        except NotAnswered as error:
            raise VerificationRejected(Reason.ISSUER_UNAVAILABLE) from error
        if claims is None:
            raise TokenRefused(Cause.INACTIVE)
        if claims.get("iss", issuer) != issuer:
            raise TokenRefused(Cause.ISSUER_UNKNOWN)
        # One that is bound to a key is no bearer token, and nobody has proved the key here.
        usage = claims.get("token_type", TOKEN_USAGE_BEARER)
        if not isinstance(usage, str) or usage.lower() != TOKEN_USAGE_BEARER.lower():
            raise TokenRefused(Cause.TYPE_NOT_ACCEPTED)
        if claims.get("token_use", "access_token") not in _ACCESS_USES:
            raise TokenRefused(Cause.TYPE_NOT_ACCEPTED)
        # No key has signed it: the endpoint stands where a key would, and is revoked like one.
        return Statement(claims, key_entry(issuer, self.introspector.settings.endpoint))


class OpaqueTokens:
    """Finds the issuer that an opaque token is to be asked about at."""

    def __init__(self, rules: Iterable[IssuerRules]) -> None:
        self._issuers = tuple(
            OpaqueIssuer(rules_for_opaque(each), each.introspector)
            for each in rules
            if each.introspector is not None and each.introspector.settings.asks_about_opaque
        )

    def find(self, unverified_token: str, token_type: TokenType) -> OpaqueIssuer | None:
        """Return the one issuer whose token this can be, or None."""
        if token_type is not TokenType.ACCESS_TOKEN or not _is_opaque(unverified_token):
            return None
        ours = is_reference(unverified_token)
        for issuer in self._issuers:
            prefix = issuer.introspector.settings.prefix
            if not ours if prefix is None else unverified_token.startswith(prefix):
                return issuer
        return None


async def check_not_revoked(rules: IssuerRules, token: str, claims: Claims) -> None:
    """Return if the issuer of a verified JWT says that it is active, or need not be asked.

    Raises ``TokenRefused``, or ``VerificationRejected``: ``issuer.unavailable``.
    """
    introspector = rules.introspector
    if introspector is None or not introspector.settings.asks_about_jwts:
        return
    try:
        answer = await introspector.ask(token)
    except NotAnswered as error:
        # Silence alone is let pass, and only where the configuration says so; a no never is.
        if introspector.settings.unreachable == "accept":
            return
        raise VerificationRejected(Reason.ISSUER_UNAVAILABLE) from error
    if answer is None:
        raise TokenRefused(Cause.REVOKED)
    if any(name in answer and answer[name] != claims.get(name) for name in _SAME):
        raise TokenRefused(Cause.CLAIM_INVALID)


def _is_opaque(text: str) -> bool:
    return (
        len(text) <= MAX_TOKEN
        and text.count(".") not in _JOSE_DOTS
        and not text.startswith(_JOSE_START)
        and _BEARER.fullmatch(text) is not None
    )
