"""Exchange, revoke, reload, turn the clock, change the policy, in any order: reuse shows nowhere.

Beside the process stands another one, of which everything is the same but that its policy never
says ``reuse``. Each request goes to both. Whatever the one refuses the other refuses, for the same
reason; and what it gives out says what a new token says, ends no later, and has its row.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.blocklist.rule import OUTRIGHT, Scope
from broker.blocklist.snapshot import facts_of, facts_of_issued
from broker.domain import IssuedToken, ReusedToken, SignedToken
from broker.errors import Reason, Rejected
from broker.exchange.response import build_response
from broker.oauth import TokenType
from tests.builders import BROKER, revocation
from tests.jwts import IDP, ONCE, OTHER, unverified_claims, unverified_header
from tests.reusing import Policy, Process, subject

SCOPES = ("orders.read", "orders.write", "orders.read orders.write", "orders.write orders.read")
# What no two tokens share.
OWN = {"iat", "nbf", "exp", "jti"}
Given = IssuedToken | Reason


chances = st.randoms(use_true_random=False)


def amid_requests(happens: Callable[..., None]) -> Callable[..., None]:
    """Ask for the same before and after."""

    @wraps(happens)
    def asking(machine: "Reuse", **drawn: Any) -> None:
        machine.ask_again(drawn["chance"], 1)
        happens(machine, **drawn)
        machine.ask_again(drawn["chance"], 1)

    return asking


async def attempt(process: Process, token: str, using: str, members: dict) -> Given:
    try:
        return await process.ask(token, using, **members)
    except Rejected as rejected:
        return rejected.reason


class Reuse(RuleBasedStateMachine):
    """A process that reuses, and its twin that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.process = Process(Policy())
        self.twin = Process(Policy(reuse=0), keys=self.process.keys)
        self.subjects = [subject(), subject(sub="bob"), subject(iss=OTHER), subject(iss=ONCE)]
        self.given: list[str] = []
        self.reused = 0
        self.minted_since = 0  # rows of before anything was revoked, reloaded or rotated
        self.seq = 0
        self.last: tuple[str, str, dict] | None = None

    @rule(chance=chances, at_once=st.sampled_from([1, 1, 1, 2, 4]))
    def ask(self, chance: Random, at_once: int) -> None:
        """Somebody asks, perhaps several times at once."""
        self.last = None
        self.ask_again(chance, at_once)

    def ask_again(self, chance: Random, at_once: int) -> None:
        """The same request as before: that is when something could be given out again."""
        if self.last is None:
            self.last = (
                chance.choice([*self.subjects, *self.given[-2:]]),
                chance.choice(["svc-a", "svc-a", "svc-b"]),
                {
                    "scope": chance.choice(SCOPES),
                    "audiences": (chance.choice(["svc-b", "svc-c", "svc-a"]),),
                    "requested_token_type": chance.choice([TokenType.ACCESS_TOKEN, TokenType.JWT]),
                },
            )
        token, using, members = self.last

        async def both() -> tuple[Given, list[Given]]:
            expected = await attempt(self.twin, token, using, members)
            asked = (attempt(self.process, token, using, members) for _ in range(at_once))
            return expected, await asyncio.gather(*asked)

        fresh, answers = asyncio.run(both())
        if token == self.subjects[-1] and isinstance(fresh, IssuedToken):
            # For one use: one of them gets it, and then it was used.
            lost = [one for one in answers if not isinstance(one, IssuedToken)]
            assert [Reason.SUBJECT_TOKEN_REPLAYED] * (at_once - 1) == lost
            answers = [one for one in answers if isinstance(one, IssuedToken)]
            assert not any(isinstance(one.signed, ReusedToken) for one in answers)
        for answer in answers:
            self.compare(fresh, answer)

    def compare(self, fresh: Given, given: Given) -> None:
        """Nobody is given what a new token would not be, nor for longer."""
        if not isinstance(fresh, IssuedToken) or not isinstance(given, IssuedToken):
            assert fresh == given
            return
        new, old = (unverified_claims(one.signed.token) for one in (fresh, given))
        # Of the first exchange, what names the transaction is its own id.
        own = OWN | ({"txn"} if new["txn"] == new["jti"] else set())
        assert {name: new[name] for name in new.keys() - own} == {
            name: old[name] for name in old.keys() - own
        }
        assert unverified_header(fresh.signed.token) == unverified_header(given.signed.token)
        assert old["exp"] <= new["exp"]
        assert old["iat"] <= self.process.now.timestamp() < old["exp"]
        body = build_response(given, issued_token_type=TokenType.ACCESS_TOKEN, now=self.process.now)
        assert 1 <= body["expires_in"] <= old["exp"] - self.process.now.timestamp() or (
            body["expires_in"] == 1
        )
        assert " ".join(given.signed.permit.scopes) == body["scope"] == old["scope"]
        self.follow(given, old)

    def follow(self, given: IssuedToken, claims: dict) -> None:
        """Its row is there, and so is the row of this very request; it is good for something."""
        token = given.signed.token
        rows = {record["id"]: record for record in self.process.rows.issued}
        mine = rows[given.signed.id]
        assert rows[claims["jti"]]["token_sha256"] == mine["token_sha256"]
        assert claims["jti"] == mine["jti"]
        if isinstance(given.signed, ReusedToken):
            self.reused += 1
            ids = [*rows]
            assert mine["action"] == "reuse"
            assert ids.index(claims["jti"]) >= self.minted_since
            age = self.process.now.timestamp() - claims["iat"]
            assert age < self.process.policy.reuse + 1
            assert claims["exp"] - self.process.now.timestamp() >= 10
        facts = facts_of(
            asyncio.run(self.process.verifier.verify_own(token, now=self.process.now)),
            issuer=BROKER,
        )
        signed = given.signed
        if isinstance(signed, SignedToken):
            assert facts == facts_of_issued(signed, issuer=BROKER)
        else:
            # A new one may be dead: of the second of a revocation all are.
            assert self.process.revoked.current.find(facts) is None
        self.given.append(token)

    def nothing_kept(self) -> None:
        """From here on only what is minted from here on is given out again."""
        self.minted_since = len(self.process.rows.issued)

    @rule(chance=chances, seconds=st.sampled_from([0.3, 1, 5, 5, 20, 31, 61, 130, -0.6, -3, -40]))
    @amid_requests
    def wait(self, chance: Random, seconds: float) -> None:
        """Time passes, or somebody sets the clock."""
        for process in (self.process, self.twin):
            process.wait(seconds)

    @rule(
        change=st.sampled_from(
            [
                *({"reuse": seconds} for seconds in (0, 5, 30, 300)),
                *({"lifetime": seconds} for seconds in (15, 15, 300)),
                *({"scopes": scopes} for scopes in (("orders.read",), tuple(SCOPES[:2]))),
                *({"mode": mode} for mode in ("delegation", "impersonation")),
                *({"allow": allow} for allow in (True, True, False)),
                *({"ebbs": ebbs} for ebbs in (True, False)),
            ]
        ),
        revised=st.booleans(),
        chance=chances,
    )
    @amid_requests
    def change_policy(self, chance: Random, change: dict, revised: bool) -> None:
        """It decides otherwise, with or without being another one."""
        policy = replace(self.process.policy, **change)
        if revised:
            policy = replace(policy, revision=f"r{self.process.ids}")
        for process in (self.process, self.twin):
            # The same object, for the pipeline has it.
            for name in ("allow", "scopes", "lifetime", "mode", "ebbs", "revision"):
                setattr(process.policy, name, getattr(policy, name))
        self.process.policy.reuse = policy.reuse
        if revised:
            self.nothing_kept()

    @rule(chance=chances)
    @amid_requests
    def revoke(self, chance: Random) -> None:
        """Something is revoked, of what there is or of something else."""
        now = self.process.now
        things = [
            (Scope.CLIENT, "", "svc-b"),
            (Scope.ACTOR, BROKER, "svc-b"),
            (Scope.CLIENT, "", "svc-x"),
            (Scope.SUBJECT, IDP, "bob"),
            (Scope.JTI, BROKER, "another"),
            *((Scope.JTI, BROKER, unverified_claims(one)["jti"]) for one in self.given[-3:]),
            *((Scope.TXN, "", unverified_claims(one)["txn"]) for one in self.given[-3:]),
        ]
        scope, issuer, key = chance.choice(things)
        self.seq += 1
        made = revocation(
            scope,
            seq=self.seq,
            issuer=issuer,
            key=key,
            not_before=None if scope in OUTRIGHT else now,
        )
        for process in (self.process, self.twin):
            process.revoked.snapshot = process.revoked.snapshot.extend([made])
        self.nothing_kept()

    @rule(chance=chances, what=st.sampled_from(["reload", "rotate", "stale", "away", "up", "up"]))
    @amid_requests
    def happen(self, chance: Random, what: str) -> None:
        """Another configuration, another key, or something is down for a while."""
        if what == "reload":
            self.process.reload()
            self.nothing_kept()
        elif what == "rotate":
            self.process.keys.rotate()
            self.nothing_kept()
        for process in (self.process, self.twin):
            process.revoked.stale = what == "stale"
            process.rows.away = what == "away"

    @invariant()
    def every_token_has_its_row(self) -> None:
        """Invariant 8."""
        ids = {record["id"] for record in self.process.rows.issued}
        assert {unverified_claims(token)["jti"] for token in self.given} <= ids


Reuse.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestReuse = pytest.mark.row("INV-1", "INV-2", "INV-8", "INV-10", "ATK-RPL-03")(Reuse.TestCase)


def test_the_machine_reuses_at_all() -> None:
    """Otherwise the comparison above would compare new tokens with new ones."""
    machine = Reuse()
    for _ in range(10):
        machine.wait(chance=Random(1), seconds=1)

    assert machine.reused >= 15
