"""``obliged``: a token was issued that the policy wants somebody to be told of."""

from collections.abc import Mapping
from typing import Any, Final

from broker.audit.detect.alert import Alert
from broker.audit.detect.memory import Recent
from broker.audit.detect.sighting import Sighting
from broker.domain import Obligation

_THRESHOLD: Final = 1


class ObligedTo:
    """Remembers nothing: that it is told once a day of a client and a subject, its id sees to."""

    @property
    def parts(self) -> Mapping[str, Recent[Any, Any]]:
        """What it remembers, by names."""
        return {}

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        if Obligation.ALERT not in seen.obligations:
            return None
        return Alert(
            rule="obliged",
            client=seen.client,
            issuer=seen.issuer,
            subject=seen.subject,
            at=seen.at,
            since=seen.at,
            observed=_THRESHOLD,
            expected=0,
            threshold=_THRESHOLD,
            meaning="token that the policy wants somebody to be told of",
            evidence=(seen.id,),
        )
