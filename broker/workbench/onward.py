"""The token that a permit would become, as it would be presented for the next exchange."""

from datetime import timedelta
from typing import Final

from broker.domain import Permit
from broker.oauth import TokenType
from broker.workbench.question import SupposedToken

_NO_TIME: Final = timedelta()


def token_of(permit: Permit, age: timedelta = _NO_TIME) -> SupposedToken:
    """Return the token that this permit would become, when it is of that age."""
    exchange = permit.exchange
    origin = exchange.subject.principal
    return SupposedToken(
        issuer=origin.issuer,
        subject=origin.subject,
        scopes=frozenset(permit.scopes),
        client_id=exchange.client.id,
        token_type=TokenType.ACCESS_TOKEN,
        audiences=tuple(dict.fromkeys(target.audience for target in permit.targets)),
        chain=permit.chain,
        depth=exchange.delegation.depth,
        max_depth=permit.max_depth,
        exchanged=True,
        age=age,
        life=permit.expires_at - exchange.at - age,
        claims=permit.claims,
    )
