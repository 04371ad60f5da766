"""Traffic as a company has it, made by a seed: the same seed, the same rows.

Office hours and nights, weekends and holidays, jobs at night and on Mondays, growth, bursts,
campaigns, deploys that ask for a little more and are refused for a while, clients that are new,
users who open what they never opened, retries that look like replays, users who are cut off while
something still polls for them. None of it is an attack; ``ATTACKS`` are.
"""

import heapq
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

START: Final = datetime(2026, 6, 1, tzinfo=UTC)  # a Monday
HOUR: Final = timedelta(hours=1)
HOLIDAYS: Final = frozenset({10, 25})  # days on which an office is as on a Sunday
ISSUER: Final = "https://idp.example.com"
REFUSED: Final = (
    *("subject_token.expired", "policy.scope_not_held", "policy.target_not_granted"),
    "delegation.may_act_mismatch",
)
NO_ID: Final = UUID(int=0)
Row = dict[str, Any]
_OFFICE: Final = (
    *(0.05, 0.04, 0.03, 0.03, 0.04, 0.1, 0.3, 0.9, 1.8, 2.4, 2.5, 2.3),
    *(1.8, 2.2, 2.5, 2.4, 2.0, 1.4, 0.8, 0.5, 0.3, 0.2, 0.1, 0.1),
)


@dataclass
class Client:
    """Who asks, how much, when and for what."""

    name: str
    daily: float  # requests on a working day
    shape: str  # office, steady, nightly or monday
    users: list[str]
    since: int = 0  # the day it begins
    scopes: list[str] = field(default_factory=list)
    refused: float = 0.01  # share


@dataclass(frozen=True)
class Attack:
    """What nobody should do, and which rule should tell."""

    rule: str
    quiet: bool  # below what a rule is made for; it shows what is missed
    client: str
    at: datetime
    rows: list[Row]


class Traffic:
    """A number of clients over a number of days."""

    def __init__(self, seed: int, *, clients: int, days: int, volume: float = 1.0) -> None:
        self.random = random.Random(seed)
        self.days = days
        self.clients = [self._client(number, volume) for number in range(clients)]

    def rows(self, attacks: Iterable[Attack] = ()) -> Iterator[Row]:
        """Rows in the order of time."""
        bad = (row for attack in attacks for row in attack.rows)
        return heapq.merge(self._honest(), sorted(bad, key=_at), key=_at)

    def _client(self, number: int, volume: float) -> Client:
        any_ = self.random
        shape = any_.choices(("office", "steady", "nightly", "monday"), (6, 2, 2, 1))[0]
        people = [f"hmac:{n:06d}" for n in range(any_.choice((20, 200, 1500)))]
        machine = [f"hmac:job{number}-{n}" for n in range(3)]
        users = people if shape == "office" else any_.choice((people[:40], machine))
        daily = volume * 10 ** any_.uniform(1.5, 3.8)
        scopes = [f"c{number}.{word}" for word in ("read", "write", "list")]
        since = any_.randint(5, 25) if any_.random() < 0.15 else 0
        return Client(f"client-{number:02d}", daily, shape, users, since, scopes)

    def _honest(self) -> Iterator[Row]:
        for day in range(self.days):
            plans = [self._plan(client, day) for client in self.clients if client.since <= day]
            for hour in range(24):
                rows = [row for plan in plans for row in plan(hour)]
                yield from sorted(rows, key=_at)

    def _plan(self, client: Client, day: int) -> Callable[[int], list[Row]]:
        """What a client does on a day; what happens to it that day is drawn once."""
        any_ = self.random
        level = client.daily * 1.005**day * any_.uniform(0.85, 1.15)
        if any_.random() < 0.02:
            level *= any_.uniform(1.5, 2.5)  # a campaign
        burst = any_.randrange(24) if any_.random() < 0.08 else None
        deploy = any_.randint(8, 17) if any_.random() < 0.07 else None
        failing = any_.randint(5, 60) if deploy is not None and any_.random() < 0.3 else 0
        if deploy is not None and any_.random() < 0.4:
            more = any_.choices((1, 2, 3, 6), (60, 30, 8, 2))[0]
            client.scopes += [f"{client.name}.d{day}.{n}" for n in range(more)]
        cut = any_.randrange(24) if any_.random() < 0.03 else None

        def plan(hour: int) -> list[Row]:
            expected = level * _share(client.shape, day, hour)
            expected *= any_.uniform(1.5, 2.5) if hour == burst else 1
            rows = [self._row(client, day, hour) for _ in range(_poisson(any_, expected))]
            if hour == deploy:
                rows += [
                    self._row(client, day, hour, reason="policy.scope_not_granted")
                    for _ in range(failing)
                ]
            if hour == cut:
                user, polls = any_.choice(client.users), any_.choices((1, 2, 3, 20), (5, 3, 2, 1))
                rows += [
                    self._row(client, day, hour, reason="subject_token.revoked", subject=user)
                    for _ in range(polls[0])
                ]
            return rows

        return plan

    def _row(
        self,
        client: Client,
        day: int,
        hour: int,
        *,
        reason: str | None = None,
        subject: str | None = None,
    ) -> Row:
        any_ = self.random
        if reason is None and any_.random() < client.refused:
            reason = "subject_token.replayed" if any_.random() < 0.01 else any_.choice(REFUSED)
        if subject is None:
            # Some are there every day, and some once in a while.
            place = int(len(client.users) * any_.random() ** 2)
            subject = client.users[place]
        return self.row(
            client.name,
            START + timedelta(days=day, hours=hour, seconds=any_.random() * 3600),
            subject=subject,
            reason=reason,
            asked=any_.sample(client.scopes, min(len(client.scopes), any_.choice((1, 1, 2, 3)))),
            depth=any_.choices((1, 2, 3, 4), (80, 15, 4, 1))[0],
        )

    def row(self, client: str, at: datetime, **what: Any) -> Row:
        """A row, with an id by this seed."""
        return build_row(client, at, id=UUID(int=self.random.getrandbits(128)), **what)


def build_row(
    client: str | None,
    at: datetime,
    *,
    id: UUID = NO_ID,  # noqa: A002 — the column's name
    subject: str = "hmac:alice",
    reason: str | None = None,
    asked: Iterable[str] = (),
    audiences: Iterable[str] = (),
    depth: int = 1,
    obligations: Iterable[str] = (),
) -> Row:
    """The columns that rules read, and a record with the members that they read."""
    record = {
        "version": 2,
        "asked": {"scope": " ".join(asked), "audiences": [*audiences], "resources": []},
        "depth": depth,
        **({"obligations": named} if (named := [*obligations]) else {}),
    }
    return {
        "id": id,
        "at": at,
        "kind": "exchange",
        "outcome": "refused" if reason else "issued",
        "reason": reason,
        "client": client,
        "subject_issuer": ISSUER,
        "subject": subject,
        "actors": [],
        "record": json.dumps(record),
    }


def attacks_on(traffic: Traffic) -> list[Attack]:
    """Two of each kind, on clients that are there from the beginning; some of them quiet ones."""
    known = [one for one in traffic.clients if one.since == 0]
    made: list[Attack] = []
    honest = traffic.random.getstate()  # so that the honest rows stay the same
    traffic.random.seed("attacks")
    for number, (rule, quiet, build) in enumerate(_BUILDERS):
        for turn in range(2):
            # A client that has everybody meets no strangers.
            fit = known if rule != "new_pair" else [one for one in known if len(one.users) <= 40]
            client = fit[(2 * number + turn) % len(fit)]
            day = 20 + (3 * number + turn) % (traffic.days - 20)
            at = START + timedelta(days=day, hours=3 if turn else 11)
            made.append(Attack(rule, quiet, client.name, at, build(traffic, client, at)))
    traffic.random.setstate(honest)
    return made


def _rate(times: float) -> Callable[[Traffic, Client, datetime], list[Row]]:
    def build(traffic: Traffic, client: Client, at: datetime) -> list[Row]:
        # Of the hour that is its busiest.
        count = int((200 if times > 1 else 0) + times * client.daily * _peak(client.shape))
        users = client.users[:5]
        return [
            traffic.row(client.name, _spread(at, n, count), subject=users[n % len(users)], asked=())
            for n in range(count)
        ]

    return build


def _some(count: int, **what: Any) -> Callable[[Traffic, Client, datetime], list[Row]]:
    def build(traffic: Traffic, client: Client, at: datetime) -> list[Row]:
        what.setdefault("subject", client.users[0])
        return [traffic.row(client.name, _spread(at, n, count), **what) for n in range(count)]

    return build


def _subjects(count: int) -> Callable[[Traffic, Client, datetime], list[Row]]:
    def build(traffic: Traffic, client: Client, at: datetime) -> list[Row]:
        # Whom others have daily, and this one never had.
        strangers = [
            user
            for other in traffic.clients
            for user in other.users[:10]
            if user not in client.users
        ]
        chosen = (list(dict.fromkeys(strangers)) * count)[:count]
        return [
            traffic.row(client.name, _spread(at, n, count), subject=user)
            for n, user in enumerate(chosen)
        ]

    return build


def _wider(count: int) -> Callable[[Traffic, Client, datetime], list[Row]]:
    def build(traffic: Traffic, client: Client, at: datetime) -> list[Row]:
        return [
            traffic.row(client.name, _spread(at, n, count), audiences=[f"vault-{n}"])
            for n in range(count)
        ]

    return build


_BUILDERS: Final = (
    ("client_rate", False, _rate(6.0)),
    ("client_rate", True, _rate(0.3)),
    ("new_pair", False, _subjects(15)),
    ("new_pair", True, _subjects(1)),
    ("probing", False, _some(120, reason="policy.target_not_granted")),
    ("probing", True, _some(15, reason="policy.target_not_granted")),
    ("replay", False, _some(5, reason="subject_token.replayed")),
    ("replay", True, _some(2, reason="subject_token.replayed")),
    ("deep_chain", False, _some(1, depth=7)),
    ("use_after_revocation", False, _some(20, reason="subject_token.revoked")),
    ("use_after_revocation", True, _some(3, reason="subject_token.revoked")),
    ("widening", False, _wider(8)),
    ("widening", True, _wider(3)),
)


def _spread(at: datetime, number: int, count: int) -> datetime:
    return at + HOUR * (number + 1) / (count + 1)


def _share(shape: str, day: int, hour: int) -> float:
    """Which part of a day's requests come in an hour."""
    weekend = day % 7 >= 5 or day in HOLIDAYS
    match shape:
        case "office":
            return _OFFICE[hour] / 24.8 * (0.12 if weekend else 1)
        case "nightly":
            return {2: 0.6, 3: 0.3}.get(hour, 0.1 / 22)
        case "monday":
            return 0.8 if (day % 7, hour) == (0, 6) else 0.2 / 24
        case _:
            return 1 / 24


def _peak(shape: str) -> float:
    return max(_share(shape, 0, hour) for hour in range(24))


def _poisson(any_: random.Random, expected: float) -> int:
    if expected > 60:
        return max(0, round(any_.gauss(expected, expected**0.5)))
    left, count = any_.expovariate(1), 0
    while left < expected:
        left += any_.expovariate(1)
        count += 1
    return count


def _at(row: Row) -> datetime:
    at: datetime = row["at"]
    return at
