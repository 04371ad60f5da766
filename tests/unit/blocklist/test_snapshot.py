"""What a revocation reaches: by what it is of, at every level, and by the latest of several."""

import gc
import tracemalloc
from datetime import timedelta
from itertools import permutations, product
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.blocklist.lineage import key_entry, token_entry
from broker.blocklist.rule import OUTRIGHT, WITHOUT_KEY, Rule, Scope
from broker.blocklist.snapshot import Snapshot, facts_of
from broker.domain import Principal, VerifiedToken
from tests.builders import (
    ALICE,
    BROKER,
    IDP,
    NOW,
    OTHER_IDP,
    client,
    revocation,
    verified_token,
)

HOUR = timedelta(hours=1)
SVC_A, SVC_B, SVC_C = (Principal(BROKER, f"svc-{name}") for name in "abc")
BATCH = Principal(OTHER_IDP, "batch")


def foreign(**overrides) -> VerifiedToken:
    """Alice's token from the identity provider, an hour old, which an actor there has brought."""
    values = {
        "chain": (BATCH,),
        "client_id": "svc-z",
        "issued_at": NOW - HOUR,
        "jti": "s-1",
        "lineage_id": token_entry(IDP, "s-1"),
        "key_id": key_entry(IDP, "k-1"),
    }
    return verified_token(**values | overrides)


def own(**overrides) -> VerifiedToken:
    """What became of it: ``svc-a`` acted, ``svc-b`` impersonated, ``svc-c`` acted, just now."""
    values = {
        "asserted_by": BROKER,
        "chain": (SVC_C, SVC_A, BATCH),
        "client_id": "svc-c",
        "issued_at": NOW - timedelta(seconds=10),
        "root_issued_at": NOW - HOUR,
        "jti": "own-3",
        "txn": "own-1",
        "lineage": (
            token_entry(IDP, "s-1"),
            token_entry(BROKER, "own-1"),
            token_entry(BROKER, "own-2"),
        ),
        "lineage_id": token_entry(BROKER, "own-3"),
        "lineage_keys": (key_entry(IDP, "k-1"), key_entry(BROKER, "ours-1")),
        "key_id": key_entry(BROKER, "ours-2"),
        "lineage_clients": ("svc-a", "svc-b", "svc-c"),
    }
    return verified_token(**values | overrides)


def dies(token: VerifiedToken, *rules: Rule) -> bool:
    return Snapshot.build(rules).find(facts_of(token, issuer=BROKER)) is not None


def test_nothing_revoked_nothing_refused():
    """The empty snapshot, and one that is full of others."""
    others = Snapshot.build(revocation(scope, issuer="x", key="x") for scope in Scope)

    assert 0 == len(Snapshot())
    assert not dies(own())
    assert {Scope.ALL} == {
        rule.scope for token in (own(), foreign()) if (rule := others.find(facts(token)))
    }


def facts(token: VerifiedToken):
    return facts_of(token, issuer=BROKER)


REACHED = [
    pytest.param(Scope.SUBJECT, IDP, "alice", True, True, id="the-subject"),
    pytest.param(Scope.SUBJECT, OTHER_IDP, "alice", False, False, id="its-namesake-elsewhere"),
    pytest.param(Scope.SUBJECT, BROKER, "idp:alice", False, False, id="its-name-under-our-issuer"),
    pytest.param(Scope.SUBJECT, OTHER_IDP, "batch", False, False, id="an-actor-is-no-subject"),
    pytest.param(Scope.ACTOR, BROKER, "svc-c", False, True, id="the-current-actor"),
    pytest.param(Scope.ACTOR, BROKER, "svc-a", False, True, id="a-prior-actor"),
    pytest.param(Scope.ACTOR, OTHER_IDP, "batch", True, True, id="an-actor-that-it-brought"),
    pytest.param(Scope.ACTOR, IDP, "batch", False, False, id="that-actor-s-namesake"),
    pytest.param(Scope.ACTOR, BROKER, "svc-b", False, True, id="an-actor-that-impersonated"),
    pytest.param(Scope.ACTOR, IDP, "alice", False, False, id="a-subject-that-did-not-act"),
    pytest.param(Scope.CLIENT, "", "svc-c", False, True, id="the-client"),
    pytest.param(Scope.CLIENT, "", "svc-a", False, True, id="a-client-of-an-earlier-hop"),
    pytest.param(Scope.CLIENT, "", "svc-b", False, True, id="a-client-that-impersonated"),
    pytest.param(Scope.CLIENT, "", "svc-z", False, False, id="a-client-of-another-issuer"),
    pytest.param(Scope.CLIENT, "", "batch", False, False, id="an-actor-of-another-issuer"),
    pytest.param(Scope.ISSUER, IDP, "", True, True, id="the-issuer-of-the-origin"),
    pytest.param(Scope.ISSUER, OTHER_IDP, "", True, True, id="the-issuer-of-an-actor"),
    pytest.param(Scope.ISSUER, BROKER, "", False, True, id="ourselves"),
    pytest.param(Scope.ISSUER, f"{IDP}/", "", False, False, id="almost-that-issuer"),
    pytest.param(Scope.KID, IDP, "k-1", True, True, id="the-root-s-key"),
    pytest.param(Scope.KID, BROKER, "ours-1", False, True, id="an-ancestor-s-key"),
    pytest.param(Scope.KID, BROKER, "ours-2", False, True, id="its-own-key"),
    pytest.param(Scope.KID, OTHER_IDP, "k-1", False, False, id="that-kid-of-another-issuer"),
    pytest.param(Scope.TXN, "", "own-1", False, True, id="its-transaction"),
    pytest.param(Scope.TXN, "", "own-2", False, False, id="another-transaction"),
    pytest.param(Scope.JTI, IDP, "s-1", True, True, id="the-root"),
    pytest.param(Scope.JTI, BROKER, "own-2", False, True, id="its-parent"),
    pytest.param(Scope.JTI, BROKER, "own-3", False, True, id="itself"),
    pytest.param(Scope.JTI, BROKER, "s-1", False, False, id="that-jti-of-another-issuer"),
    pytest.param(Scope.ALL, "", "", True, True, id="everything"),
]


@pytest.mark.row("INV-10", "INV-9", "RV-2.1-07", "CVE-2026-1486", "CVE-2026-9097")
@pytest.mark.parametrize(("scope", "issuer", "key", "root", "descendant"), REACHED)
def test_a_revocation_reaches_what_it_is_of_at_every_level(scope, issuer, key, root, descendant):
    """Promises 4: the pair for an identity, and each ancestor that the token names."""
    rule = revocation(scope, issuer=issuer, key=key)

    assert (root, descendant) == (dies(foreign(), rule), dies(own(), rule))


@pytest.mark.row("CVE-2026-1609", "CVE-2025-64521", "INV-10")
@pytest.mark.parametrize("scope", [Scope.SUBJECT, Scope.ACTOR, Scope.CLIENT])
@pytest.mark.parametrize("name", ["svc-a", "alice"])
@pytest.mark.parametrize("as_actor", [False, True], ids=["as-subject", "as-actor"])
def test_an_account_that_was_disabled_gets_nothing(scope, name, as_actor):
    """Whoever it is, whatever it is revoked as, and as whatever its token is presented."""
    party = SVC_A if name == "svc-a" else ALICE
    chain = (SVC_C,) if as_actor else ()
    brought = own(
        principal=SVC_B if as_actor else party,
        chain=(*chain, party) if as_actor else (),
        lineage_clients=("svc-a",) if party == SVC_A else ("svc-c",),
        client_id="svc-c",
        lineage=(),
        txn="t",
    )
    rule = revocation(
        scope,
        issuer="" if scope is Scope.CLIENT else party.issuer,
        key=party.subject,
    )
    reached = {
        Scope.SUBJECT: not as_actor,
        # Without a chain it is the subject that acts, and an actor token never has one.
        Scope.ACTOR: True,
        Scope.CLIENT: party == SVC_A,
    }[scope]

    assert reached == dies(brought, rule)


@pytest.mark.row("CA-D-01", "CVE-2025-64521")
@pytest.mark.parametrize(
    ("scope", "issuer", "key", "blocked"),
    [
        pytest.param(Scope.CLIENT, "", "svc-a", True, id="the-client"),
        pytest.param(Scope.CLIENT, "", "svc-b", False, id="another-client"),
        pytest.param(Scope.ACTOR, BROKER, "svc-a", True, id="as-an-actor"),
        pytest.param(Scope.ACTOR, IDP, "app", True, id="under-another-name-of-it"),
        pytest.param(Scope.ACTOR, OTHER_IDP, "app", False, id="that-name-elsewhere"),
        pytest.param(Scope.SUBJECT, BROKER, "svc-a", False, id="as-a-subject"),
    ],
)
def test_a_client_is_blocked_until_then(scope, issuer, key, blocked):
    """To authenticate counts as being issued a token now."""
    rule = revocation(scope, issuer=issuer, key=key, not_before=NOW + HOUR)
    asking = client("svc-a", known_as=frozenset({Principal(IDP, "app")}))
    snapshot = Snapshot.build([rule])

    assert (rule if blocked else None) == snapshot.find_block(asking, NOW)
    assert snapshot.find_block(asking, NOW + HOUR) is None


@pytest.mark.parametrize(
    ("scope", "issuer", "key", "by_root"),
    [
        pytest.param(Scope.SUBJECT, IDP, "alice", True, id="subject"),
        pytest.param(Scope.ISSUER, IDP, "", True, id="issuer"),
        pytest.param(Scope.ALL, "", "", True, id="all"),
        pytest.param(Scope.ACTOR, BROKER, "svc-a", False, id="actor"),
        pytest.param(Scope.CLIENT, "", "svc-a", False, id="client"),
    ],
)
@pytest.mark.row("INV-10")
def test_whose_age_counts(scope, issuer, key, by_root):
    """A subject's token is as old as its root, whoever exchanges it; a client's, as itself."""
    between = revocation(scope, issuer=issuer, key=key, not_before=NOW - HOUR / 2)
    at_the_root = revocation(scope, issuer=issuer, key=key, not_before=NOW - HOUR)
    later = revocation(scope, issuer=issuer, key=key, not_before=NOW)

    assert (by_root, False, True) == (
        dies(own(), between),
        dies(own(), at_the_root),
        dies(own(), later),
    )


def test_a_token_of_the_same_second_is_dead_rather_than_alive():
    """``iat`` has no fractions: it may be from before."""
    rule = revocation(
        Scope.SUBJECT, issuer=IDP, key="alice", not_before=NOW + timedelta(microseconds=1)
    )

    assert dies(foreign(issued_at=NOW), rule)
    assert not dies(foreign(issued_at=NOW + timedelta(seconds=1)), rule)


def test_a_block_lasts_until_then():
    """A ``not_before`` in the future: what is issued meanwhile is dead as well."""
    rule = revocation(Scope.SUBJECT, issuer=IDP, key="alice", not_before=NOW + HOUR)

    assert dies(foreign(issued_at=NOW + HOUR / 2), rule)
    assert not dies(foreign(issued_at=NOW + HOUR), rule)


# Each dated scope, on the one token, at four ages around it.
DATED = [
    (Scope.SUBJECT, IDP, "alice"),
    (Scope.ISSUER, IDP, ""),
    (Scope.ACTOR, BROKER, "svc-a"),
    (Scope.CLIENT, "", "svc-a"),
    (Scope.ALL, "", ""),
]
TOKEN = own(issued_at=NOW - HOUR)  # as old as its root: one age for every scope
AGES = (NOW - 3 * HOUR, NOW - 2 * HOUR, NOW - HOUR / 2, NOW)


@pytest.mark.row("CVE-2026-8922", "CVE-2026-18218")
@pytest.mark.parametrize("scopes", range(1, 2 ** len(DATED)))
def test_one_not_before_never_hides_another(scopes):
    """All subsets of scopes, each at any age: the maximum decides."""
    chosen = [DATED[bit] for bit in range(len(DATED)) if scopes >> bit & 1]
    for ages in product(AGES[1:3], repeat=len(chosen)):
        rules = [
            revocation(scope, seq=seq, issuer=issuer, key=key, not_before=age)
            for seq, ((scope, issuer, key), age) in enumerate(zip(chosen, ages, strict=True), 1)
        ]

        assert (TOKEN.issued_at < max(ages)) == dies(TOKEN, *rules)
        assert (TOKEN.issued_at < max(ages)) == dies(TOKEN, *reversed(rules))


@pytest.mark.row("CVE-2026-8922", "CVE-2026-18218")
@pytest.mark.parametrize(("scope", "issuer", "key"), DATED)
def test_neither_order_nor_number_lets_an_earlier_one_win(scope, issuer, key):
    """Several rules on one thing, in every order, at once and one after the other."""
    rules = [
        revocation(scope, seq=seq, issuer=issuer, key=key, not_before=age)
        for seq, age in enumerate(AGES, 1)
    ]
    for count in range(1, len(rules) + 1):
        for order in permutations(rules, count):
            at_once, one_by_one = Snapshot.build(order), Snapshot()
            for rule in order:
                one_by_one = one_by_one.extend([rule])
            latest = max(order, key=lambda rule: rule.not_before or NOW)

            assert [latest] == list(at_once) == list(one_by_one)
            assert (TOKEN.issued_at < latest.not_before) == dies(TOKEN, *order)


@pytest.mark.row("CVE-2026-8922", "CVE-2026-18218")
@given(st.lists(st.tuples(st.sampled_from([*DATED]), st.integers(-9, 9)), max_size=12))
def test_whatever_is_revoked_the_latest_that_matches_decides(drawn):
    """The same over rules that repeat, for every age there is."""
    rules = [
        revocation(scope, seq=seq, issuer=issuer, key=key, not_before=NOW + n * HOUR)
        for seq, ((scope, issuer, key), n) in enumerate(drawn, 1)
    ]
    latest = max((rule.not_before for rule in rules if rule.not_before), default=NOW - 99 * HOUR)

    for hours in range(-10, 10):
        at = NOW + hours * HOUR
        assert (at < latest) == dies(own(issued_at=at, root_issued_at=at), *rules)


def test_a_snapshot_never_changes():
    """Readers keep the one that they have: a later rule makes another one."""
    rules = [revocation(scope, seq=seq, issuer=IDP, key="x") for seq, scope in enumerate(Scope, 1)]
    before = Snapshot.build(rules[:4])
    after = before.extend(rules[4:])

    assert (4, len(Scope)) == (len(before), len(after))
    assert set(rules) == set(after)


def test_what_nothing_can_meet_any_more_is_forgotten_and_no_key_is():
    """Who stole a key signs on; a token that is too old is refused for its age."""
    rules = [
        revocation(
            scope,
            issuer=IDP,
            key="x",
            at=NOW - 3 * HOUR,
            not_before=None if scope in OUTRIGHT else NOW - 3 * HOUR,
        )
        for scope in Scope
    ]
    lasting = revocation(Scope.CLIENT, key="y", at=NOW - 3 * HOUR, not_before=NOW + HOUR)
    recent = revocation(Scope.TXN, key="y", at=NOW - HOUR)
    snapshot = Snapshot.build([*rules, lasting, recent])
    kept = snapshot.without_obsolete(NOW - 2 * HOUR)

    assert {(Scope.KID, "x"), (Scope.CLIENT, "y"), (Scope.TXN, "y")} == {
        (rule.scope, rule.key) for rule in kept
    }
    assert len(Scope) + 2 == len(snapshot.without_obsolete(NOW - 4 * HOUR))


def test_what_is_revoked_again_is_remembered_from_then_on():
    """A second revocation of one token kills no more; it is the younger one that stays."""
    first, again = (revocation(Scope.TXN, seq=n, key="t", at=NOW + n * HOUR) for n in (1, 2))

    assert [again] == list(Snapshot.build([first, again]))
    assert [again] == list(Snapshot.build([again, first]))


def storm(count: int) -> list[Rule]:
    """That many rules on as many things, of every scope that has a key."""
    scopes = [scope for scope in Scope if scope not in WITHOUT_KEY]
    return [
        revocation(
            scopes[number % len(scopes)],
            seq=number + 1,
            issuer=f"https://issuer-{number % 50}.example.com",
            key=f"019ab000-0000-7000-8000-{number:012}",
            reason=f"reported as stolen, ticket {number}",
            by=f"operator-{number % 9}",
        )
        for number in range(count)
    ]


@pytest.mark.row("DRILL-11")
def test_ten_thousand_rules_take_less_than_10_mb():
    """Bounded memory, strings included; rules that are worth no more than others replace them."""
    gc.collect()
    tracemalloc.start()
    snapshot = Snapshot.build(storm(10_000))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 10_000 == len(snapshot)
    assert taken < 10 * 2**20
    assert len(snapshot) == len(snapshot.extend(storm(10_000)))


@pytest.mark.row("DRILL-11")
def test_a_look_up_does_not_take_longer_among_ten_thousand():
    """By dictionaries: what is measured here in microseconds leaves room for a busy machine."""
    snapshot, token = Snapshot.build(storm(10_000)), own()
    began = process_time()
    for _ in range(1_000):
        assert snapshot.find(facts_of(token, issuer=BROKER)) is None

    assert (process_time() - began) / 1_000 < 0.001
