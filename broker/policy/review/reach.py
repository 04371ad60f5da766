"""Which subjects a client can present, and which scopes these can hold, by the configuration.

An upper bound: what is not in it cannot happen. A token of a trusted issuer may hold any scope,
unless its issuer is configured to give none (``scopeless``); a token of ours holds what some grant
gives for a target, and is presented by whoever that target is. On every hop the client has to be
one that may present tokens of the subject's origin (``broker.tokens.verify`` (7) and (8)). Depth,
lifetime and rules of one's own only ever make it less.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.policy.floor import IDENTITY
from broker.policy.grants import ANY_ISSUER, Grant
from broker.settings import ClientSettings, Settings, TargetSettings, TrustedIssuer

Grants = Mapping[tuple[str, str], Grant]  # by client and target
_EVERYBODY: Final = "*"


@dataclass(slots=True)
class Held:
    """What tokens of one origin may hold that one client presents."""

    anything: bool = False  # straight from an issuer whose tokens have scopes
    identity: bool = False  # straight from a scopeless one
    scopes: set[str] = field(default_factory=set)  # by tokens of ours

    def has(self, source: str) -> bool:
        """Whether a scope, or ``identity``, may be there for something to follow from."""
        if source == IDENTITY:
            return self.identity
        return self.anything or source in self.scopes


class Reach:
    """Computed once for grants that are well-formed."""

    def __init__(self, grants: Grants, settings: Settings) -> None:
        self._issuers = {each.issuer: each for each in settings.issuers}
        self._targets = {each.name: each for each in settings.targets}
        named = {each.id: _answers_to(each, self._targets) for each in settings.clients}
        self._owners = {
            each.name: [client for client, names in named.items() if each.audience in names]
            for each in settings.targets
        }
        self._held: dict[tuple[str, str], Held] = {
            (client.id, issuer.issuer): Held(not issuer.scopeless, issuer.scopeless)
            for client in settings.clients
            for issuer in settings.issuers
            if may_present(client.id, issuer)
        }
        grown = True
        while grown:  # each turn adds a scope somewhere, or is the last one
            grown = False
            for place, grant in grants.items():
                grown |= self._pass_on(*place, grant)

    def origins(self, client: str, grant: Grant) -> list[str]:
        """Return the issuers whose subjects the grant is for and the client can present."""
        return [
            issuer
            for issuer in self._issuers
            if (client, issuer) in self._held and _is_for(grant, issuer)
        ]

    def holds(self, client: str, grant: Grant, source: str) -> bool:
        """Whether a subject that the grant is for can hold this when the client presents it."""
        return any(self._held[client, issuer].has(source) for issuer in self.origins(client, grant))

    def scopeless(self, client: str, grant: Grant) -> list[str]:
        """Return those of the origins that are trusted for who somebody is, and give no scopes."""
        return [one for one in self.origins(client, grant) if self._issuers[one].scopeless]

    def owners(self, target: str) -> list[str]:
        """Return the clients that tokens for this target are meant for."""
        return self._owners.get(target, [])

    def _pass_on(self, client: str, target: str, grant: Grant) -> bool:
        if target not in self._targets:
            return False
        known = self._targets[target].scopes
        grown = False
        for issuer in self.origins(client, grant):
            granted = known.intersection(gives(grant, self._held[client, issuer]))
            for owner in self._owners[target]:
                held = self._held.get((owner, issuer))
                if held is not None and not granted <= held.scopes:
                    held.scopes |= granted
                    grown = True
        return grown


def may_present(client: str, issuer: TrustedIssuer) -> bool:
    """Whether the client may present tokens of the issuer, or any that descend from one."""
    return _EVERYBODY in issuer.clients or client in issuer.clients


def gives(grant: Grant, held: Held) -> Iterator[str]:
    """Yield the scopes that a grant gives to who holds this."""
    yield from (scope for scope in grant.scopes if held.has(scope))
    yield from (scope for scope, sources in grant.derives.items() if any(map(held.has, sources)))


def _is_for(grant: Grant, issuer: str) -> bool:
    return ANY_ISSUER in grant.issuers or issuer in grant.issuers


def _answers_to(client: ClientSettings, targets: Mapping[str, TargetSettings]) -> set[str]:
    """Return every ``aud`` that names the client: its id, and all names of the targets it is."""
    found = {client.id}
    for name in client.targets:
        target = targets.get(name)
        found |= set() if target is None else {name, target.audience, *target.resources}
    return found
