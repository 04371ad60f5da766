"""What a permit obliges the broker to, besides giving the token.

It is done once the token's row is durable, and the row says what: so whoever dies in between has
not kept anything from anybody, and ``broker.audit.detect`` raises the alert from the row.
"""

import logging

from broker.domain import Obligation, SignedToken
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_met = meter.create_counter(
    "broker.policy.obligations",
    unit="1",
    description="Tokens that obliged the broker to something besides, by what.",
)


def meet_obligations(signed: SignedToken) -> None:
    """Do what the permit obliges to. Of the token, only its id is said."""
    permit = signed.permit
    for obligation in permit.obligations:
        _met.add(1, {"obligation": obligation.value})
    if Obligation.ALERT in permit.obligations:
        _log.warning(
            "a token was issued that the policy wants somebody to be told of",
            extra={
                "audit_id": signed.id,
                "client_id": permit.exchange.client.id,
                "targets": [target.name for target in permit.targets],
                "policy_revision": permit.evaluation.revision,
            },
        )
