"""What the trail of these tests tells: a tree of exchanges, refusals, and much of the everyday."""

import dataclasses
from dataclasses import dataclass

import orjson

from broker.audit.event import Event
from broker.audit.outcome import build_issued, build_refused
from broker.db.engine import Database
from broker.domain import Attempt, Principal, VerifiedToken
from broker.errors import Reason
from broker.policy.input import build_input
from tests import builders
from tests.audit import attempt, evaluation, event, new_id, new_vault, running, signed_token
from tests.fixtures.postgres import OneDatabase
from tests.sealing import seal_now

EVERYDAY = 120  # rows of one client, more than fit on a page
HELD = frozenset({"inventory.read", "orders.read", "orders.write", "profile"})


@dataclass(frozen=True)
class Told:
    """Where it was told, and the ids of the rows of its tree."""

    database: OneDatabase
    first: str  # checkout exchanges alice's token for inventory
    second: str  # inventory exchanges that for ledger
    refused: str  # inventory asks for a scope that nobody held


@dataclass(frozen=True)
class Exchange:
    """One exchange of it: who presents what for what."""

    client: str
    target: str
    subject: VerifiedToken
    scopes: tuple[str, ...] = ("inventory.read",)
    derived: tuple[tuple[str, str], ...] = ()

    def attempt(self) -> Attempt:
        acting = Principal(builders.BROKER, self.client)
        chain = (acting, *self.subject.chain)
        depth = self.subject.delegation_depth + 1
        exchange = builders.exchange(
            request=builders.token_exchange_request(
                id=new_id(), audiences=(self.target,), scope=" ".join(self.scopes)
            ),
            client=builders.client(self.client),
            subject=self.subject,
            delegation=builders.delegation(
                acting=acting, chain=chain, subject_chain=self.subject.chain, depth=depth
            ),
            targets=(builders.target(self.target, audience=f"https://{self.target}.test/"),),
            scopes=self.scopes,
        )
        return attempt(exchange=exchange)

    def issued(self) -> tuple[Event, VerifiedToken]:
        """Its row, and the token that came of it as the next one presents it."""
        made = self.attempt()
        assert made.exchange is not None
        told = evaluation(
            revision="sha256:" + "9f31ab77" * 8, input=orjson.dumps(build_input(made.exchange))
        )
        made = dataclasses.replace(made, evaluation=told)
        id_ = new_id()
        txn = self.subject.txn or id_
        signed = signed_token(made, id=id_, txn=txn)
        permit = dataclasses.replace(
            signed.permit,
            evaluation=told,
            scopes=self.scopes,
            chain=made.exchange.delegation.chain,
        )
        signed = dataclasses.replace(signed, permit=permit)
        token = builders.verified_token(
            asserted_by=builders.BROKER,
            jti=id_,
            txn=txn,
            chain=permit.chain,
            delegation_depth=made.exchange.delegation.depth,
            audiences=(f"https://{self.target}.test/",),
            scopes=frozenset(self.scopes),
            client_id=self.client,
            issued_at=signed.issued_at,
            expires_at=signed.expires_at,
            principal=self.subject.principal,
        )
        return build_issued(made, signed, issuer=builders.BROKER, vault=new_vault()), token

    def refused(self, reason: Reason) -> Event:
        """Its row, if policy says no."""
        made = self.attempt()
        assert made.exchange is not None
        told = evaluation(
            input=orjson.dumps(build_input(made.exchange)),
            output={"allow": False, "reasons": [reason.value]},
        )
        made = dataclasses.replace(made, evaluation=told)
        return build_refused(made, reason, id=new_id(), issuer=builders.BROKER, vault=new_vault())


async def tell(database: OneDatabase) -> Told:
    """Write it all, and seal it."""
    alice = builders.verified_token(
        scopes=HELD, policy_claims={"groups": ["buyers"], "tenant": "acme"}, client_id="portal"
    )
    first, token = Exchange(
        "checkout", "inventory", alice, ("inventory.read", "orders.read")
    ).issued()
    second, _ = Exchange("inventory", "ledger", token, ("orders.read",)).issued()
    refused = Exchange("inventory", "ledger", token, ("ledger.append",)).refused(
        Reason.POLICY_SCOPE_NOT_HELD
    )
    everyday = [
        Exchange(
            "batch",
            "archive",
            builders.verified_token(principal=Principal(builders.IDP, f"robot-{number}"), jti=None),
        ).issued()[0]
        for number in range(EVERYDAY)
    ]
    opened = Database(database.app_url)
    try:
        async with running(opened) as writer:
            for one in (*everyday, event("keys.rotate", algorithm="ES256"), first, second, refused):
                await writer.append(one)
        await seal_now(opened)
    finally:
        await opened.aclose()
    return Told(database, first.id, second.id, refused.id)
