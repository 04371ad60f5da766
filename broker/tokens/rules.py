"""One issuer's rules in the form in which a request asks for them; made once, at start."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from broker.domain import Client, Principal
from broker.issuers.introspection import Introspector
from broker.issuers.jwks import KeySource
from broker.issuers.registry import IssuerRegistry
from broker.jose.compact import normalize_typ
from broker.oauth import TYP_REFERENCE, TokenType
from broker.settings import TrustedIssuer
from broker.tokens.claims import Claims, is_name
from broker.tokens.refusal import Cause, TokenRefused

# What each entry of ``asserts`` makes believed. The count and its limit are one fact: believing
# the limit of somebody whose count is ignored would allow more exchanges than it says.
_ASSERTED: Final = {
    "act": ("act",),
    "may_act": ("may_act",),
    "max_delegation_depth": ("max_delegation_depth", "delegation_depth"),
}


@dataclass(frozen=True, slots=True)
class IssuerRules:
    """What is asked of a token because of who issued it. Design §5. Times are in seconds."""

    issuer: str
    own: bool  # this broker: identity is read from ``sub_id``, and there is a lineage
    keys: KeySource
    algorithms: frozenset[str]
    token_types: frozenset[TokenType]
    typ: frozenset[str | None]  # short form, lower case; None: no ``typ``
    broker_names: frozenset[str]  # the ``aud`` values that mean this broker there
    max_age: float
    leeway: float
    require: tuple[str, ...]
    not_believed: frozenset[str]  # claims whose presence is a refusal
    scope_claim: str
    scopeless: bool
    client_claim: str
    prefix: str | None  # of its subjects under our issuer; None: kept as they are
    policy_claims: tuple[str, ...]
    one_time: bool
    clients: frozenset[str] | None  # who may present its tokens; None: every client
    introspector: Introspector | None  # None: it is not asked, or has been already

    def check_presenter(self, client: Client) -> None:
        """Refuse a client that may not present tokens of, or descending from, this issuer."""
        if self.clients is not None and client.id not in self.clients:
            raise TokenRefused(Cause.ISSUER_NOT_FOR_CLIENT)

    def check_believed(self, claims: Claims) -> None:
        """Refuse a claim that this issuer may not assert: neither believed nor lost (TX-4.1-16)."""
        if not self.not_believed.isdisjoint(claims):
            raise TokenRefused(Cause.CLAIM_NOT_BELIEVED)


def build_rules(registry: IssuerRegistry, *, issuer: str) -> dict[str, IssuerRules]:
    """Return the rules of every trusted issuer by its ``iss``; ``issuer`` is our own."""
    return {
        trusted.issuer: _rules_of(
            trusted, registry.key_source(trusted), registry.introspector(trusted), issuer
        )
        for trusted in registry.issuers
    }


def rules_for_references(own: IssuerRules) -> IssuerRules:
    """Return our own rules as they are for what a reference token stands for.

    Its ``typ`` is one that no JWT which is presented may have, so a record that somebody has read
    in the database is no token.
    """
    return replace(
        own, typ=frozenset({TYP_REFERENCE}), token_types=frozenset({TokenType.ACCESS_TOKEN})
    )


def rules_for_opaque(rules: IssuerRules) -> IssuerRules:
    """Return an issuer's rules as they are for what it says of an opaque token.

    That has the members of RFC 7662 §2.2, whatever the claims of its JWTs are called, and no
    header; and what is opaque is an access token and nothing else.
    """
    return replace(
        rules,
        typ=frozenset({None}),
        token_types=rules.token_types & {TokenType.ACCESS_TOKEN},
        scope_claim="scope",
        client_claim="client_id",
        introspector=None,
    )


def _rules_of(
    trusted: TrustedIssuer, keys: KeySource, introspector: Introspector | None, own: str
) -> IssuerRules:
    believed = {claim for name in trusted.asserts for claim in _ASSERTED[name]}
    all_claims = {claim for claims in _ASSERTED.values() for claim in claims}
    return IssuerRules(
        issuer=trusted.issuer,
        own=trusted.issuer == own,
        keys=keys,
        algorithms=frozenset(trusted.algorithms),
        token_types=frozenset(trusted.token_types),
        typ=frozenset(normalize_typ(typ) for typ in trusted.typ),
        broker_names=frozenset({own, *trusted.audiences}),
        max_age=trusted.max_age.total_seconds(),
        leeway=trusted.leeway.total_seconds(),
        # What is claimed once is told apart by its ``jti``.
        require=(*trusted.require, "jti") if trusted.one_time else trusted.require,
        not_believed=frozenset(all_claims - believed),
        scope_claim=trusted.scope_claim,
        scopeless=trusted.scopeless,
        client_claim=trusted.client_claim,
        prefix=None if trusted.subject == "keep" else f"{trusted.alias}:",
        policy_claims=trusted.policy_claims,
        one_time=trusted.one_time,
        clients=None if "*" in trusted.clients else frozenset(trusted.clients),
        introspector=introspector,
    )


class LocalNames:
    """Gives every foreign subject its one ``sub`` under our issuer. RFC 7519 §4.1.2."""

    def __init__(self, rules: Iterable[IssuerRules], client_ids: Iterable[str]) -> None:
        """``client_ids``: of all clients, because a subject must not look like any of them."""
        self._client_ids = frozenset(client_ids)
        self._prefixes = tuple(each.prefix for each in rules if each.prefix is not None)

    def name(self, principal: Principal, rules: IssuerRules, client: Client) -> str:
        """Return the ``sub`` for a subject of a foreign issuer that ``client`` presents.

        Refuses one that could be taken for a client or for a subject of another issuer.
        """
        # A workload acting for itself is the client that the configuration says it is.
        if client.is_principal(principal):
            return client.id
        if rules.prefix is not None:
            local = rules.prefix + principal.subject
        else:
            local = principal.subject
            # Kept names share one space with the prefixed ones: ``idp:alice`` is taken.
            if local.startswith(self._prefixes):
                raise TokenRefused(Cause.CLAIM_INVALID)
        if local in self._client_ids:
            raise TokenRefused(Cause.SUBJECT_IS_CLIENT)
        if not is_name(local):  # too long with its prefix: it could not come back to us
            raise TokenRefused(Cause.CLAIM_INVALID)
        return local
