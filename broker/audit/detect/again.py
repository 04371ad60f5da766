"""Again and again: ``replay`` of what is for one use, and ``use_after_revocation``."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from broker.audit.detect.alert import MOST_EVIDENCE, Alert
from broker.audit.detect.memory import CLIENTS, Recent, moment, texts, whole
from broker.audit.detect.sighting import DAY, Sighting
from broker.errors import Reason
from broker.settings.alerts import Replay
from broker.settings.alerts import UseAfterRevocation as Revocation

_REPLAYED: Final = frozenset(
    {
        Reason.CLIENT_ASSERTION_REPLAYED,
        Reason.SUBJECT_TOKEN_REPLAYED,
        Reason.ACTOR_TOKEN_REPLAYED,
    }
)
_REVOKED: Final = frozenset(
    {Reason.CLIENT_REVOKED, Reason.SUBJECT_TOKEN_REVOKED, Reason.ACTOR_TOKEN_REVOKED}
)
_MOST: Final = 4 * CLIENTS  # of whom it is remembered
_Key = tuple[str | None, str | None, str | None]


class _Times:
    __slots__ = ("rows", "seen", "told")

    def __init__(self, most: int) -> None:
        self.seen: deque[tuple[datetime, int]] = deque(maxlen=most)  # when, and how often
        self.rows: deque[str] = deque(maxlen=MOST_EVIDENCE)
        self.told = -1

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        return [[*self.seen], [*self.rows], self.told]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        seen, rows, told = stored
        self.seen.extend((moment(at), whole(count)) for at, count in seen)
        self.rows.extend(texts(rows))
        self.told = whole(told)


class _Again:
    """So many in so long, however they fall on hours."""

    def __init__(
        self,
        rule: Literal["replay", "use_after_revocation"],
        settings: Replay | Revocation,
        reasons: frozenset[Reason],
        meaning: str,
    ) -> None:
        self._rule: Final = rule
        self._most = settings.threshold.count
        self._per = settings.threshold.per
        self._reasons: frozenset[str] = reasons
        self._meaning = meaning
        self._known: Recent[_Key, _Times] = Recent(_MOST, lambda: _Times(self._most))

    @property
    def parts(self) -> Mapping[str, Recent[Any, Any]]:
        """What it remembers, by names."""
        return {self._rule: self._known}

    def _find(self, seen: Sighting, *, subject: bool) -> Alert | None:
        count = sum(count for reason, count in seen.reasons if reason in self._reasons)
        if not count:
            return None
        issuer, person = (seen.issuer, seen.subject) if subject else (None, None)
        times = self._known[seen.client, issuer, person]
        times.seen.append((seen.at, count))
        times.rows.append(seen.id)
        recent = [(at, count) for at, count in times.seen if seen.at - self._per < at]
        observed = sum(count for _, count in recent)
        day = seen.seconds // DAY
        if observed < self._most or day <= times.told:
            return None
        times.told = day
        return Alert(
            rule=self._rule,
            client=seen.client,
            issuer=seen.issuer,
            subject=person,
            at=seen.at,
            since=min(at for at, _ in recent),
            observed=observed,
            expected=0,
            threshold=self._most,
            meaning=self._meaning,
            evidence=tuple(times.rows)[-len(recent) :],
        )


class Replayed(_Again):
    """``replay``: by the client, or by whoever did not authenticate."""

    def __init__(self, settings: Replay) -> None:
        super().__init__("replay", settings, _REPLAYED, "what is for one use was used again")

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        return self._find(seen, subject=False)


class UseAfterRevocation(_Again):
    """``use_after_revocation``: by the client and the subject, who may be the one cut off."""

    def __init__(self, settings: Revocation) -> None:
        super().__init__(
            "use_after_revocation", settings, _REVOKED, "refused because it was revoked"
        )

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        return self._find(seen, subject=True)
