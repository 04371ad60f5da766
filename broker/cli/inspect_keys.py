"""What can be said of public keys: whether they are usable, weak, or somebody else's as well."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from broker.cli.findings import Finding, bad, good, warning
from broker.domain import JsonObject
from broker.issuers.sources import KeySettings
from broker.jose.errors import Malformed
from broker.jose.jwk import KeySet, load_keys, weaknesses
from broker.settings import ClientSettings, TrustedIssuer


class Role(StrEnum):
    """Whose keys they are."""

    ISSUER = "issuer"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody whose signatures we verify, and what the configuration calls them."""

    role: Role
    name: str
    settings: KeySettings
    discover: str | None  # the issuer whose metadata names the keys

    @property
    def subject(self) -> str:
        """What findings about its keys are listed under."""
        return f"keys of {self.role} {self.name}"

    @property
    def is_fetched(self) -> bool:
        """Whether its keys come over the network."""
        return self.discover is not None or self.settings.jwks_uri is not None


@dataclass(frozen=True, slots=True)
class PartyKeys:
    """The usable keys of somebody."""

    party: Party
    keys: KeySet


def parties(
    issuers: Sequence[TrustedIssuer], clients: Sequence[ClientSettings]
) -> tuple[Party, ...]:
    """Return everybody whose keys the configuration names, in its order."""
    return (
        *(
            Party(Role.ISSUER, issuer.alias, issuer, issuer.issuer if issuer.discovery else None)
            for issuer in issuers
            if issuer.has_keys
        ),
        *(
            Party(Role.CLIENT, client.id, client, None)
            for client in clients
            if client.jwks is not None or client.jwks_file is not None or client.jwks_uri
        ),
    )


def judge_keys(
    party: Party, document: JsonObject | bytes
) -> tuple[list[Finding], PartyKeys | None]:
    """Return what is to be said of a JWK set, and its keys if there is a usable one."""
    algorithms: Collection[str] = party.settings.algorithms
    allowed = ", ".join(algorithms)
    mend = f"publish a JWK set (RFC 7517) with a public key for one of {allowed}"
    try:
        keys = load_keys(document, algorithms)
    except Malformed as malformed:
        return [bad(party.subject, f"{malformed}", mend)], None
    said = weaknesses(document)
    if not len(keys):
        found = "; ".join(said) or f"no key fits one of {allowed}"
        return [bad(party.subject, f"none is usable: {found}", mend)], None
    weak = [
        warning(party.subject, sentence, "have it replaced by its owner, or removed")
        for sentence in said
    ]
    count = "1 key" if len(keys) == 1 else f"{len(keys)} keys"
    return [*weak, good(party.subject, f"{count} for {allowed}")], PartyKeys(party, keys)


def shared_keys(owners: Sequence[PartyKeys]) -> Iterator[Finding]:
    """Yield a finding for each key that two parties have, so that one can sign as the other."""
    by_thumbprint: dict[str, list[Party]] = defaultdict(list)
    for owner in owners:
        for key in owner.keys.keys:
            if owner.party not in by_thumbprint[key.thumbprint]:
                by_thumbprint[key.thumbprint].append(owner.party)
    for thumbprint, sharing in by_thumbprint.items():
        if len(sharing) == 1:
            continue
        names = " and ".join(f"{party.role} {party.name}" for party in sharing)
        text = f"{names} have the same key ({thumbprint[:8]}…), so each can sign as the other"
        if all(party.role is Role.ISSUER for party in sharing):
            # Tenants of one provider do that, and it is the provider that keeps them apart.
            yield warning("duplicate keys", text, "give each its own, unless one party runs both")
        else:
            yield bad("duplicate keys", text, "give each a key of its own")
