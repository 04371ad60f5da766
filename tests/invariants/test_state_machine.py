"""Exchange, revoke, rotate, restart, let time pass, in any order: what holds after every step.

Two processes share a ledger and an audit trail, and are the broker's own code from the verification
of a token to the commit of the next one; only the database is a list. Beside them stands a model,
which knows of each token from whom and what it was made and nothing of claims. It says what is
revoked from all that was ever revoked; the broker says it from the token and its snapshot.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from broker.audit.commit import AuditTrail
from broker.audit.event import Event
from broker.audit.queue import AuditUnavailable
from broker.blocklist.feed import STALE_AFTER, Blocklist, memory_of
from broker.blocklist.revoke import revoke
from broker.blocklist.rule import OUTRIGHT, Rule, Scope
from broker.blocklist.snapshot import BlocklistStale, Facts, facts_of
from broker.domain import (
    Attempt,
    Client,
    Deny,
    Exchange,
    Principal,
    SignedToken,
    TokenExchangeRequest,
    VerifiedToken,
)
from broker.errors import CommitRejected, DelegationRejected, Reason, VerificationRejected
from broker.issuers.registry import IssuerRegistry
from broker.jose.jwk import KeySet, load_keys
from broker.jose.sign import SigningKey, generate_signing_key
from broker.minting.mint import mint
from broker.policy.floor import judge
from broker.settings import Settings
from broker.tokens.delegation import delegate
from broker.tokens.references import References
from broker.tokens.verify import TokenVerifier
from tests.audit import new_vault
from tests.builders import BROKER, NOW, client, exchange, target, token_exchange_request
from tests.configuration import document
from tests.decisions import allowance, evaluation
from tests.invariants.cases import chain_of
from tests.jwts import IDP, OTHER, subject_jwt, unverified_claims, unverified_header
from tests.verification import ReferenceMemory

SERVICES = ("svc-a", "svc-b", "svc-c")
SCOPES = ("orders.read", "orders.write", "customers.read")
CEILING = 6
USERS = tuple((issuer, name) for issuer in (IDP, OTHER) for name in ("alice", "bob"))
DEAD_ALREADY = {Reason.SUBJECT_TOKEN_EXPIRED, Reason.SUBJECT_TOKEN_TOO_OLD}
# Seconds from now that a revocation is as of; None: as it is usual.
TIMES = (None, None, 0, -1, -5, -30, -3600, 30, 86_400)
WHATEVER = [scope for scope in Scope if scope is not Scope.ALL]
Thing = tuple[Scope, str, str]


@dataclass(frozen=True)
class Token:
    """A token as the model knows it: what it was made of, and when."""

    text: str = field(repr=False)
    holder: str  # the service that it is for
    origin: tuple[str, str]
    root_iat: int
    iat: int
    exp: int
    chain: tuple[tuple[str, str], ...] = ()
    clients: tuple[str, ...] = ()  # that it, and what it was made from, was issued to
    tokens: tuple[tuple[str, str], ...] = ()  # its ancestors and itself
    keys: tuple[tuple[str, str], ...] = ()  # that have signed these
    txn: str | None = None
    about: Facts | None = field(default=None, repr=False)  # as the broker reads it

    def things(self) -> list[Thing]:
        """Whatever can be revoked of it."""
        actors = (*(self.chain or (self.origin,)), *((BROKER, name) for name in self.clients))
        things = [
            (Scope.SUBJECT, *self.origin),
            (Scope.ALL, "", ""),
            *((Scope.ACTOR, *actor) for actor in actors),
            *((Scope.ISSUER, issuer, "") for issuer, _ in (self.origin, *actors)),
            *((Scope.CLIENT, "", name) for name in self.clients),
            *((Scope.JTI, *token) for token in self.tokens),
            *((Scope.KID, *key) for key in self.keys),
        ]
        return [*dict.fromkeys(things), *([(Scope.TXN, "", self.txn)] if self.txn else [])]

    @property
    def presentable_until(self) -> int:
        """A user's own token gets too old before it expires, if it lives for longer than a day."""
        return self.exp if self.clients else min(self.exp, self.iat + 86_400)

    def is_killed(self, by: Rule) -> bool:
        """Whether a rule is about it and its age."""
        if (by.scope, by.issuer, by.key) not in self.things():
            return False
        if by.not_before is None:
            return True
        born = self.iat if by.scope in {Scope.ACTOR, Scope.CLIENT} else self.root_iat
        return born < by.not_before.timestamp()


class Ledger:
    """The ledger in a list."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.rules: list[Rule] = []
        self._clock = clock

    async def append(
        self,
        scope: Scope,
        *,
        before_commit: Callable[[Rule], Awaitable[None]],
        **members: Any,
    ) -> Rule:
        made = Rule(seq=len(self.rules) + 1, scope=scope, at=self._clock(), **members)
        await before_commit(made)
        self.rules.append(made)
        return made

    async def pull(self, after: int) -> list[Rule]:
        return self.rules[after:]

    async def load(self, since: datetime) -> list[Rule]:
        return [one for one in self.rules if one.outlives(since) or one is self.rules[-1]]


class Rows:
    """The writer of the audit trail, whose database may be away."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.actions: list[str] = []
        self.away = False

    async def append(self, event: Event, *_: Any) -> None:
        if self.away:
            raise AuditUnavailable("away")
        self.ids.add(event.id)
        self.actions.append(str(event.columns[-1]))


class Keys:
    """Our own keys: what signs, and what is published."""

    def __init__(self) -> None:
        self.executor = None
        self.active = generate_signing_key("ES256")
        self._published = [self.active]
        self.public: KeySet = self._load()

    def signing_key(self, algorithm: str) -> SigningKey:
        assert algorithm == "ES256"
        return self.active

    def rotate(self, *, withdraw: bool) -> None:
        """Let another key sign; the one before stays published, unless it is withdrawn."""
        kept = [key for key in self._published if not (withdraw and key is self.active)]
        self.active = generate_signing_key("ES256")
        self._published = [*kept, self.active]
        self.public = self._load()

    def _load(self) -> KeySet:
        return load_keys({"keys": [key.public_jwk for key in self._published]}, ["ES256"])


@dataclass(frozen=True)
class Hop:
    """What is asked for with a token, at which process, and what policy says."""

    to: str
    where: int
    mode: str
    scopes: int
    life: int
    away: bool  # whether the database of the audit trail is, at that moment


# What is drawn from one of these is spread evenly, which the library's own choices are not.
chances = st.randoms(use_true_random=False)


def some_hop(chance: Random) -> Hop:
    """Whatever a service could ask for."""
    return Hop(
        to=chance.choice(SERVICES),
        where=chance.choice([0, 1]),
        mode=chance.choice(["delegation", "delegation", "impersonation"]),
        scopes=chance.randint(1, 3),
        life=chance.choice([120, 300, 300]),
        away=chance.random() < 0.1,
    )


@cache
def configuration() -> Settings:
    return Settings.model_validate(document())


class Broker(RuleBasedStateMachine):
    """Two processes of the broker, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.seconds = NOW, 0.0
        self.ledger, self.rows, self.keys = Ledger(lambda: self.now), Rows(), Keys()
        self.revoked_at: list[float] = []  # on the monotonic clock, in the order of the ledger
        self.known = [0, 0]  # how many rules each process has read
        self.read_at: list[float | None] = [None, None]
        self.tokens: list[Token] = []
        self.count = 0
        issuers = configuration().issuers
        self.verifier = TokenVerifier(
            IssuerRegistry(issuers, own=BROKER, own_keys=lambda: self.keys.public),
            issuer=BROKER,
            clients=configuration().clients,
            targets=configuration().targets,
            references=References(ReferenceMemory()),
        )
        self.trail = AuditTrail(
            self.rows,  # type: ignore[arg-type] — a list in the place of the database
            issuer=BROKER,
            vault=new_vault(),
            clock=lambda: self.now,
            build_id=self.new_id,
        )
        self.processes = [self.start(), self.start()]

    def start(self) -> Blocklist:
        """What one process of the broker has of revocations, before it has read any."""
        return Blocklist(
            self.ledger,  # type: ignore[arg-type] — likewise
            memory=memory_of(configuration()),
            clock=lambda: self.now,
            monotonic=lambda: self.seconds,
        )

    def new_id(self) -> str:
        self.count += 1
        return f"019ab000-0000-7000-8000-{self.count:012d}"

    @initialize(chance=chances)
    def begin(self, chance: Random) -> None:
        self.pull_both()
        self.log_in(chance)

    @rule(chance=chances)
    def log_in(self, chance: Random) -> None:
        """A user gets a token for the first service, which does something with it."""
        self.issue(chance.choice(USERS), chance.choice([30, 3600, 90_000]))
        self.travel(self.tokens[-1], chance)

    def issue(self, user: tuple[str, str], life: int) -> None:
        iat, jti = int(self.now.timestamp()), self.new_id()
        claims = {"iss": user[0], "sub": user[1], "aud": "svc-a", "iat": iat, "exp": iat + life}
        text = subject_jwt(**claims, jti=jti, scope=" ".join(SCOPES))
        request = token_exchange_request(unverified_subject_token=text)
        subject = asyncio.run(self.verifier.verify_subject(request, client(), now=self.now))
        token = Token(
            text,
            "svc-a",
            user,
            iat,
            iat,
            iat + life,
            tokens=((user[0], jti),),
            keys=((user[0], unverified_header(text)["kid"]),),
            about=facts_of(subject, issuer=BROKER),
        )
        self.tokens.append(token)

    @precondition(lambda self: self.alive())
    @rule(chance=chances)
    def pass_on(self, chance: Random) -> None:
        """A token goes on from where it is, also a second time."""
        self.travel(chance.choice(self.alive()), chance)

    def travel(self, token: Token | None, chance: Random) -> None:
        """From service to service, until one of them is refused, and rightly so."""
        for _ in range(chance.randint(1, 4)):
            if token is not None and (token := self.exchange(token, some_hop(chance))) is not None:
                self.tokens.append(token)

    def alive(self) -> list[Token]:
        """The tokens that can be presented."""
        now = self.now.timestamp()
        return [
            token
            for token in self.tokens
            if token.presentable_until > now and not self.is_dead(token)
        ]

    def is_dead(self, token: Token) -> bool:
        """Whether anything that was ever revoked kills it."""
        return any(token.is_killed(one) for one in self.ledger.rules)

    def exchange(self, token: Token, hop: Hop) -> Token | None:
        """A service presents what it holds; what it gets, or that it gets nothing, is right."""
        using = client(token.holder)
        request = token_exchange_request(unverified_subject_token=token.text, audiences=(hop.to,))
        subject = self.verified(token, using, request, hop.where)
        if subject is None:
            return None
        try:
            delegation = delegate(subject, None, using, ceiling=CEILING)
        except DelegationRejected:
            assert len(token.tokens) > CEILING
            return None
        asked = exchange(
            at=self.now,
            request=request,
            client=using,
            subject=subject,
            delegation=delegation,
            targets=(target(hop.to, scopes=frozenset(SCOPES)),),
            scopes=(),
        )
        said = allowance(
            targets=[hop.to],
            scopes=sorted(subject.scopes)[: hop.scopes],
            max_depth=delegation.max_depth,
            mode=hop.mode,
            lifetime=hop.life,
            reentry=True,
        )
        permit = judge(asked, evaluation(said), ceiling=CEILING)
        if isinstance(permit, Deny):
            assert token.exp - self.now.timestamp() < 1, permit
            return None
        signed = mint(permit, self.keys, issuer=BROKER, id=self.new_id(), now=self.now)
        self.rows.away = hop.away
        released = self.committed(asked, signed)
        self.rows.away = False
        return self.made(token, signed, hop) if released else None

    def verified(
        self, token: Token, using: Client, request: TokenExchangeRequest, where: int
    ) -> VerifiedToken | None:
        """Return the token as step 2 has it; None, where it was refused and rightly so."""
        try:
            snapshot = self.processes[where].current
        except BlocklistStale:
            read_at = self.read_at[where]
            assert read_at is None or self.seconds - read_at > STALE_AFTER.total_seconds()
            return None
        rules = self.ledger.rules[: self.known[where]]
        acts = {(Scope.CLIENT, "", using.id), (Scope.ACTOR, BROKER, using.id)}
        blocked = any(
            one.not_before is not None and self.now < one.not_before
            for one in rules
            if (one.scope, one.issuer, one.key) in acts
        )
        assert blocked == (snapshot.find_block(using, self.now) is not None)
        if blocked:
            return None
        try:
            subject = asyncio.run(self.verifier.verify_subject(request, using, now=self.now))
        except VerificationRejected as rejected:
            self.assert_refused_rightly(token, rejected.reason)
            return None
        killed = any(token.is_killed(one) for one in rules)
        assert killed == (snapshot.find(facts_of(subject, issuer=BROKER)) is not None)
        if killed:
            return None
        # What was revoked longer ago than any process may be without the ledger is known to it.
        assert not any(
            token.is_killed(one)
            for one, at in zip(self.ledger.rules, self.revoked_at, strict=True)
            if self.seconds - at > STALE_AFTER.total_seconds()
        )
        return subject

    def committed(self, asked: Exchange, signed: SignedToken) -> bool:
        """Record it; nothing is released while that cannot be done."""
        attempt = Attempt(
            asked.request.id,
            asked.request.source,
            asked.at,
            request=asked.request,
            client=asked.client,
            subject=asked.subject,
            delegation=asked.delegation,
            exchange=asked,
        )
        try:
            return asyncio.run(self.trail.commit(attempt, signed)).signed is signed
        except CommitRejected:
            assert self.rows.away
            return False

    def made(self, token: Token, signed: SignedToken, hop: Hop) -> Token:
        """Check what came of a token against it, and return it as the model has it."""
        claims, before = unverified_claims(signed.token), unverified_claims(token.text)
        acting, current = (BROKER, token.holder), (*token.chain, token.origin)[0]
        grown = hop.mode == "delegation" and acting != current
        chain = (acting, *token.chain) if grown else token.chain

        assert {*claims["scope"].split()} <= {*before["scope"].split()}
        assert claims["exp"] <= before["exp"]
        assert chain_of(claims) == tuple(Principal(*pair) for pair in chain)
        assert (claims["sub_id"]["iss"], claims["sub_id"]["sub"]) == token.origin
        verified = asyncio.run(self.verifier.verify_own(signed.token, now=self.now))
        return Token(
            signed.token,
            hop.to,
            token.origin,
            token.root_iat,
            claims["iat"],
            claims["exp"],
            chain,
            (*token.clients, token.holder),
            (*token.tokens, (BROKER, claims["jti"])),
            (*token.keys, (BROKER, self.keys.active.kid)),
            claims["jti"] if token.txn is None else token.txn,
            facts_of(verified, issuer=BROKER),
        )

    def assert_refused_rightly(self, token: Token, reason: Reason) -> None:
        """A token that does not verify is out of time, or its key was withdrawn."""
        if reason in DEAD_ALREADY:
            day = timedelta(hours=24).total_seconds()
            age = self.now.timestamp() - token.iat
            assert self.now.timestamp() >= token.exp or age > day, token
        elif reason is Reason.SUBJECT_TOKEN_NOT_YET_VALID:
            assert self.now.timestamp() < token.iat
        else:
            own = {kid for issuer, kid in token.keys if issuer == BROKER}
            assert own - {key.kid for key in self.keys.public.keys}, reason

    # Otherwise most of what is revoked would be about nothing that is left.
    @precondition(lambda self: self.alive())
    @rule(chance=chances, reads=st.sampled_from([True, True, False]))
    def revoke(self, chance: Random, reads: bool) -> None:
        """Something of a token is revoked, perhaps once more as of another time."""
        token = chance.choice(self.alive())
        scope = chance.choice([*WHATEVER, *WHATEVER, Scope.ALL])
        things = [thing for thing in token.things() if thing[0] is scope] or token.things()[:1]
        scope, issuer, key = chance.choice(things)
        for _ in range(chance.choice([1, 1, 2])):
            seconds = chance.choice(TIMES)
            not_before = None if seconds is None else self.now + timedelta(seconds=seconds)
            self.append(scope, issuer, key, None if scope in OUTRIGHT else not_before)
        if reads:
            self.pull_both()

    def append(self, scope: Scope, issuer: str, key: str, not_before: datetime | None) -> bool:
        before, recorded = len(self.ledger.rules), len(self.rows.actions)
        try:
            made = asyncio.run(
                revoke(
                    self.ledger,  # type: ignore[arg-type] — likewise
                    self.trail,
                    scope,
                    issuer=issuer,
                    key=key,
                    not_before=not_before,
                    reason="a test",
                    by="a test",
                    now=self.now,
                )
            )
        except CommitRejected:
            assert self.rows.away
            assert before == len(self.ledger.rules)
            return False
        assert made == self.ledger.rules[-1]
        assert ["revocation"] == self.rows.actions[recorded:]
        self.revoked_at.append(self.seconds)
        return True

    @rule(withdraw=st.booleans())
    def rotate(self, withdraw: bool) -> None:
        """Another key signs; that of before is as good as it was, unless it leaked."""
        # The ledger first: until a process has read the keys again, what it signs is dead.
        if not withdraw or self.append(Scope.KID, BROKER, self.keys.active.kid, None):
            self.keys.rotate(withdraw=withdraw)

    @rule(where=st.sampled_from([0, 1]), restarts=st.booleans(), reads=st.booleans())
    def process(self, where: int, restarts: bool, reads: bool) -> None:
        """A process begins anew, with nothing in its memory, or reads what is new."""
        if restarts:
            self.restart(where)
        if reads or not restarts:
            self.pull(where)

    def pull(self, where: int) -> None:
        asyncio.run(self.processes[where].refresh())
        self.known[where], self.read_at[where] = len(self.ledger.rules), self.seconds

    def restart(self, where: int) -> None:
        self.processes[where] = self.start()
        self.read_at[where] = None

    def pull_both(self) -> None:
        for number in (0, 1):
            self.pull(number)

    @rule(
        seconds=st.sampled_from([1, 1, 1, 1, 9, 11, 11, 120, 250_000]),
        slip=st.sampled_from([0, 0, 0, 0.4, -0.6, -3]),
        reads=st.sampled_from([True, True, False]),
    )
    def wait(self, seconds: int, slip: float, reads: bool) -> None:
        """Time passes, and somebody may set the clock; mostly the processes read on meanwhile."""
        self.now += timedelta(seconds=seconds + slip)
        self.seconds += seconds
        if reads:
            self.pull_both()

    @rule(hours=st.sampled_from([1, 3, 20]))
    def deploy(self, hours: int) -> None:
        """Later on, both processes are replaced."""
        self.wait(hours * 3600, 0, reads=False)
        for number in (0, 1):
            self.restart(number)
        self.pull_both()

    @invariant()
    def every_released_token_has_its_row(self) -> None:
        """Invariant 8."""
        released = {jti for token in self.tokens for issuer, jti in token.tokens}
        foreign = {jti for token in self.tokens for issuer, jti in token.tokens if issuer != BROKER}
        assert released - foreign <= self.rows.ids

    @invariant()
    def who_has_not_read_the_ledger_knows_it(self) -> None:
        """Promises §4: a restart forgets nothing, and a process that is cut off says so."""
        for process, read_at in zip(self.processes, self.read_at, strict=True):
            fresh = read_at is not None and self.seconds - read_at <= STALE_AFTER.total_seconds()
            assert fresh == process.loaded

    @invariant()
    def no_token_outlives_its_revocation(self) -> None:
        """Invariant 10: whoever has read all of the ledger refuses what is dead, and no more."""
        now = self.now.timestamp()
        alive = [token for token in self.tokens if token.presentable_until > now]
        for number, process in enumerate(self.processes):
            if not process.loaded or self.known[number] < len(self.ledger.rules):
                continue
            for token in alive:
                assert token.about is not None
                assert self.is_dead(token) == (process.current.find(token.about) is not None), token


Broker.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestBroker = pytest.mark.row("INV-1", "INV-2", "INV-3", "INV-8", "INV-10", "CVE-2026-9802")(
    Broker.TestCase
)
