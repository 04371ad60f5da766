"""What a revocation reaches, asked of the trail: as many tokens as the broker then refuses.

The tokens are real: each was verified, exchanged and minted from the one before. What the broker
says of each, from its claims alone, is what the trail has to say from its rows.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest

from broker.audit.outcome import build_issued, build_reused
from broker.audit.query import CannotRead
from broker.audit.reach import find_reach
from broker.blocklist.rule import OUTRIGHT, Rule, Scope
from broker.blocklist.snapshot import Facts, Snapshot, facts_of
from broker.db.engine import Database
from broker.domain import Attempt, Permit, SignedToken
from broker.minting.mint import mint
from broker.policy.floor import judge
from broker.tokens.delegation import delegate
from tests.audit import VAULT, new_id, new_vault, reused_token, running
from tests.builders import (
    BROKER,
    NOW,
    OTHER_IDP,
    client,
    exchange,
    revocation,
    target,
    token_exchange_request,
)
from tests.decisions import allowance, evaluation
from tests.fixtures.postgres import execute, one_more
from tests.invariants.test_hops import KEYS, SERVICES, the_verifier
from tests.invariants.test_revocation import parties
from tests.jwts import ABSENT, ACTS, IDP, subject_jwt

LIFE = timedelta(minutes=5)
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Made:
    """A token, who holds it, and what is recorded of it; a user's own is not."""

    token: str
    holder: str
    at: datetime
    signed: SignedToken | None = None
    attempt: Attempt | None = None


def user_token(chance: Random) -> Made:
    """A token of a user, of either issuer; one of them may have a history."""
    issuer, at = chance.choice([IDP, ACTS]), NOW + timedelta(seconds=chance.randrange(200))
    act = {"sub": "x", "act": {"iss": BROKER, "sub": "svc-c"}}
    token = subject_jwt(
        iss=issuer,
        sub=chance.choice(["alice", "bob"]),
        aud="svc-a",
        iat=int(at.timestamp()) - chance.randrange(60),
        exp=int(at.timestamp()) + 3600,
        act=act if issuer == ACTS and chance.random() < 0.5 else ABSENT,
    )
    return Made(token, "svc-a", at)


def derived(made: Made, chance: Random) -> Made:
    """What its holder makes of it."""
    to, at = chance.choice(SERVICES), made.at + timedelta(seconds=chance.randrange(25))
    request = token_exchange_request(unverified_subject_token=made.token, audiences=(to,))
    using = client(made.holder)
    subject = asyncio.run(the_verifier().verify_subject(request, using, now=at))
    asked = exchange(
        at=at,
        request=request,
        client=using,
        subject=subject,
        delegation=delegate(subject, None, using, ceiling=8),
        targets=(target(to),),
    )
    mode = chance.choice(["delegation", "impersonation"])
    said = allowance(
        targets=[to], max_depth=8, reentry=True, mode=mode, lifetime=chance.choice([90, 150, 300])
    )
    permit = judge(asked, evaluation(said), ceiling=8)
    assert isinstance(permit, Permit)
    signed = mint(permit, KEYS, issuer=BROKER, id=new_id(), now=at)
    attempt = Attempt(
        request.id,
        request.source,
        at,
        request=request,
        client=using,
        subject=subject,
        delegation=asked.delegation,
        exchange=asked,
    )
    return Made(signed.token, to, at, signed, attempt)


def forest(seed: int) -> list[Made]:
    """Trees of tokens, whose users come and go."""
    chance = Random(seed)
    found: list[Made] = []
    for _ in range(8):
        level = [user_token(chance)]
        found += level
        for _ in range(chance.randint(1, 3)):
            level = [derived(made, chance) for made in level for _ in range(chance.randint(1, 3))]
            found += level
    return found


@pytest.fixture(scope="module")
def planted(postgres, template):
    """A trail with the rows of a forest for each seed, and the tokens that they are of."""
    with one_more(postgres, template.name) as made:
        tokens = [token for seed in SEEDS for token in forest(seed)]
        asyncio.run(write(made.app_url, tokens))
        yield made, tokens


async def write(url: str, tokens: list[Made]) -> None:
    database = Database(url)
    async with running(database) as writer:
        for made in tokens:
            if made.attempt is not None and made.signed is not None:
                await writer.append(
                    build_issued(made.attempt, made.signed, issuer=BROKER, vault=new_vault())
                )
                # Given out again it is still one token.
                await writer.append(
                    build_reused(
                        made.attempt, reused_token(made.signed), issuer=BROKER, vault=new_vault()
                    )
                )
    await database.aclose()


def own(made: Made) -> Facts:
    return facts_of(asyncio.run(the_verifier().verify_own(made.token, now=made.at)), issuer=BROKER)


async def reach(url: str, rule: Rule, now: datetime):
    database = Database(url)
    try:
        return await find_reach(
            database, rule, issuer=BROKER, pseudonym=VAULT.pseudonym, longest_life=LIFE, now=now
        )
    finally:
        await database.aclose()


@pytest.mark.row("INV-10")
def test_the_trail_counts_what_the_broker_refuses(planted):
    """Of what stands in any of the tokens, and of strangers, from several times on."""
    made, tokens = planted
    live = NOW + timedelta(seconds=150)
    issued = [(one.signed, own(one)) for one in tokens if one.signed is not None]
    things = sorted({thing for one in tokens for thing in parties(one.token)})
    things += [(Scope.ACTOR, IDP, "alice"), (Scope.ACTOR, ACTS, "bob"), (Scope.CLIENT, "", "x")]
    things += [(Scope.SUBJECT, OTHER_IDP, "alice"), (Scope.JTI, OTHER_IDP, new_id())]
    chance, seen = Random(0), Counter()
    many = [thing for thing in things if thing[0] in {Scope.JTI, Scope.TXN}]
    asked = [thing for thing in things if thing not in many] + chance.sample(many, 60)

    async def ask():
        for scope, issuer, key in asked:
            before = None if scope in OUTRIGHT else NOW + timedelta(seconds=chance.randrange(300))
            rule = revocation(scope, issuer=issuer, key=key, not_before=before)
            snapshot = Snapshot.build([rule])
            alive = [(one, about) for one, about in issued if one.expires_at > live]
            hit = [one for one, about in alive if snapshot.find(about) is not None]
            held = Counter(one.permit.exchange.client.id for one in hit)
            found = await reach(made.app_url, rule, live)

            assert held == {holder.client: holder.tokens for holder in found.holders}, rule
            assert len(hit) == found.tokens
            assert max((one.expires_at for one in hit), default=None) == found.expires_at
            seen[scope] += bool(hit)

    asyncio.run(ask())
    assert {*Scope} == {scope for scope, hits in seen.items() if hits}  # else it shows nothing


async def test_what_it_reaches_as_json_has_the_two_numbers_apart(planted):
    """How many, who holds them, and until when somebody who verifies offline takes them."""
    made, _ = planted
    now = NOW + timedelta(seconds=150)
    found = await reach(made.app_url, revocation(Scope.ALL, not_before=now), now)
    told = found.describe()

    assert {"tokens", "clients", "accepted_offline_until", "counted_at", "issued_since"} == {*told}
    assert told["tokens"] == sum(one["tokens"] for one in told["clients"]) > 0
    assert told["accepted_offline_until"] == max(one["expires_at"] for one in told["clients"])


async def test_where_nothing_is_alive_there_is_no_time_to_wait(planted):
    """An hour later nothing of it is left."""
    made, _ = planted
    later = NOW + timedelta(hours=1)
    found = await reach(made.app_url, revocation(Scope.ALL, not_before=later), later)

    assert (0, None, ()) == (found.tokens, found.expires_at, found.holders)


async def test_only_rows_that_can_be_of_live_tokens_are_read(planted):
    """Quick, however long the trail is: by the index on time, of the days that matter."""
    made, _ = planted
    plan = execute(
        made.app_url,
        "SET enable_seqscan = off",
        "EXPLAIN SELECT txn FROM audit_event WHERE at >= now() - interval '5 minutes'"
        " AND kind = 'exchange' AND outcome = 'issued' AND txn = 'x'",
    )
    text = "\n".join(line[0] for line in plan)

    assert "Subplans Removed" in text or "_at_idx" in text


async def test_a_database_that_is_away_is_said_so(tmp_path):
    """Whoever revoked is told that it could not be counted."""
    with pytest.raises(CannotRead):
        await reach(f"postgresql://broker_app@/broker?host={tmp_path}", revocation(Scope.ALL), NOW)
