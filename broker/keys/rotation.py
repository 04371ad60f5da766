"""The life of a signing key: prepared → active → retiring → retired.

    prepared   published, signs nothing yet: verifiers that cache the JWKS come to know it
    active     signs; at most one of an algorithm
    retiring   signs no more, and is published until the last token that it signed has expired
    retired    gone, its private part erased

What holds over any sequence of transitions (a property test says so):

(1) a key is published for ``publish_before`` before it signs. The first of an algorithm is not:
    nobody can have cached a JWKS of ours with keys of that algorithm. An operator can force it;
(2) a key stays published for ``publish_after`` after it has stopped signing, unless it is revoked:
    then it is retired at once, from whichever state;
(3) from the first transition on there is a standby: one key is prepared;
(4) a transition that was planned on anything but the present state does not take place.

The functions are pure; the times in a ``KeyTable`` are the database's, so that processes whose
clocks differ agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class KeyState(StrEnum):
    """Where a key is in its life; it only ever moves down this list."""

    PREPARED = "prepared"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key's row, without the key."""

    kid: str
    algorithm: str
    state: KeyState
    generation: int  # of the transition that put it into this state
    created_at: datetime
    activated_at: datetime | None = None
    retiring_at: datetime | None = None
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyTable:
    """All keys of one algorithm that are not retired, as they were at one time."""

    algorithm: str
    generation: int  # how many transitions there have been
    at: datetime
    keys: tuple[KeyRecord, ...] = ()

    def find(self, state: KeyState) -> KeyRecord | None:
        """Return the oldest key in that state."""
        return min(
            (key for key in self.keys if key.state is state),
            key=lambda key: (key.created_at, key.kid),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a key stays in each state."""

    rotate_every: timedelta
    publish_before: timedelta  # JWKS max-age and the time that a JWKS takes to be everywhere
    publish_after: timedelta  # the longest life of a token, its leeway, and the same


@dataclass(frozen=True, slots=True)
class Plan:
    """A transition that is due: which keys change, and which are to be made.

    ``changes`` are applied in their order, which lets no two keys be active at a time.
    """

    algorithm: str
    generation: int  # that it was planned on; it takes place only there
    changes: tuple[tuple[str, KeyState, KeyState], ...]  # kid, before, after
    new: tuple[KeyState, ...]

    def __bool__(self) -> bool:
        return bool(self.changes or self.new)


class TooEarly(Exception):  # noqa: N818 — an answer to the operator
    """The standby has not been published long enough; ``wait`` says how much longer."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("the standby has not been published long enough")
        self.wait = wait


def due(table: KeyTable, schedule: Schedule) -> Plan:
    """Return what is to be done by now; false if nothing."""
    if table.generation == 0:
        return Plan(table.algorithm, 0, (), (KeyState.ACTIVE, KeyState.PREPARED))
    active, standby = table.find(KeyState.ACTIVE), table.find(KeyState.PREPARED)
    # Without an active key, which no transition of ours leaves behind, the standby still has to
    # have been published: a token that verifiers refuse helps nobody.
    overdue = active is None or table.at - _since(active) >= schedule.rotate_every
    ripe = standby is not None and standby_wait(table, schedule) <= timedelta(0)
    return _plan(table, schedule, promote=overdue and ripe)


def promotion(table: KeyTable, schedule: Schedule) -> Plan:
    """Return the plan that lets the standby sign from now on. Raises ``TooEarly``."""
    wait = standby_wait(table, schedule)
    if wait > timedelta(0):
        raise TooEarly(wait)
    return _plan(table, schedule, promote=True)


def forced_promotion(table: KeyTable, schedule: Schedule) -> Plan:
    """Do as ``promotion`` with a standby of any age: verifiers with an older JWKS will refuse."""
    return _plan(table, schedule, promote=True)


def revocation(table: KeyTable, kid: str, *, usable: bool = True) -> Plan:
    """Return the plan that retires a key at once; of one that signs, the standby takes its place.

    A standby that is not ``usable`` is retired as well, and what signs is a key that nobody knows
    yet: verifiers with an older JWKS refuse it for a while, which is better than no key.
    """
    (bad,) = (key for key in table.keys if key.kid == kid)
    standby = table.find(KeyState.PREPARED)
    changes = [(kid, bad.state, KeyState.RETIRED)]
    new: list[KeyState] = []
    if bad.state is KeyState.ACTIVE:
        if standby is not None:
            after = KeyState.ACTIVE if usable else KeyState.RETIRED
            changes.append((standby.kid, KeyState.PREPARED, after))
        if standby is None or not usable:
            new.append(KeyState.ACTIVE)
    left = {kid for kid, _, _ in changes}
    if not any(key.state is KeyState.PREPARED and key.kid not in left for key in table.keys):
        new.append(KeyState.PREPARED)
    return Plan(table.algorithm, table.generation, tuple(changes), tuple(new))


def standby_wait(table: KeyTable, schedule: Schedule) -> timedelta:
    """Return how long the standby has still to be published; zero or less: not at all."""
    standby = table.find(KeyState.PREPARED)
    if standby is None:
        return schedule.publish_before
    return schedule.publish_before - (table.at - standby.created_at)


def _plan(table: KeyTable, schedule: Schedule, *, promote: bool) -> Plan:
    active, standby = table.find(KeyState.ACTIVE), table.find(KeyState.PREPARED)
    changes = [
        (key.kid, KeyState.RETIRING, KeyState.RETIRED)
        for key in table.keys
        if key.state is KeyState.RETIRING and table.at - _since(key) >= schedule.publish_after
    ]
    if promote and standby is not None:
        # First the one that stops, then the one that starts.
        if active is not None:
            changes.append((active.kid, KeyState.ACTIVE, KeyState.RETIRING))
        changes.append((standby.kid, KeyState.PREPARED, KeyState.ACTIVE))
    promoted = {kid for kid, _, after in changes if after is KeyState.ACTIVE}
    standing_by = any(
        key.state is KeyState.PREPARED and key.kid not in promoted for key in table.keys
    )
    # (3) The next standby is made in the same transition, so there is no moment without.
    new = () if standing_by else (KeyState.PREPARED,)
    return Plan(table.algorithm, table.generation, tuple(changes), new)


def _since(key: KeyRecord) -> datetime:
    entered: Mapping[KeyState, datetime | None] = {
        KeyState.PREPARED: key.created_at,
        KeyState.ACTIVE: key.activated_at,
        KeyState.RETIRING: key.retiring_at,
        KeyState.RETIRED: key.retired_at,
    }
    return entered[key.state] or key.created_at
