"""A good request of a client, as its grant would have it, to see the policy decide."""

from typing import Any, Final

from broker.oauth import TokenType
from broker.policy.floor import IDENTITY
from broker.policy.grants import ANY_ISSUER, Grant
from broker.settings import ClientSettings, Settings, TargetSettings

_NOW: Final = 1_800_000_000
_TOKEN: Final = TokenType.ACCESS_TOKEN.value
_ISSUER: Final = "https://issuer.invalid"
_BROKER: Final = "https://broker.invalid"


def build_request(
    client: str, target: str, grant: Grant, settings: Settings | None
) -> dict[str, Any]:
    """Return a policy input: for all that the grant gives, by who holds what it takes."""
    known, asking = _find(client, target, settings)
    scopes = list(dict.fromkeys([*grant.scopes, *grant.derives]))
    sources = {source for one in grant.derives.values() for source in one}
    actor = {"issuer": settings.issuer if settings else _BROKER, "subject": client}
    return {
        "request": {
            "id": "probe",
            "time": _NOW,
            "audiences": [target],
            "resources": [],
            "targets": [
                {
                    "name": target,
                    "audience": known.audience if known else target,
                    "scopes": sorted(known.scopes if known else scopes),
                    "max_lifetime": int(known.max_lifetime.total_seconds()) if known else 300,
                    "claims": list(known.claims) if known else [],
                }
            ],
            "scopes": scopes,
            "requested_token_type": _TOKEN,
            "purpose": next(iter(grant.purposes), None),
            "source": "192.0.2.1",
        },
        "client": {
            "id": client,
            "auth_method": asking.auth.value if asking else "client_secret_basic",
            "targets": list(asking.targets) if asking else [],
        },
        "subject": {
            "issuer": next((each for each in grant.issuers if each != ANY_ISSUER), _ISSUER),
            "subject": "probe",
            "client_id": client,
            "token_type": _TOKEN,
            "scopes": sorted({*grant.scopes, *sources} - {IDENTITY}),
            "scopeless": IDENTITY in sources,
            "audiences": [client],
            "issued_at": _NOW,
            "expires_at": _NOW + 3600,
            "claims": {},
        },
        "actor": None,
        "delegation": {
            "acting": actor,
            "chain": [actor],
            "depth": 1,
            "max_depth": settings.max_delegation_depth if settings else 8,
            "reenters": False,
            "actor_token": False,
        },
    }


def _find(
    client: str, target: str, settings: Settings | None
) -> tuple[TargetSettings | None, ClientSettings | None]:
    if settings is None:
        return None, None
    return (
        next((each for each in settings.targets if each.name == target), None),
        next((each for each in settings.clients if each.id == client), None),
    )
