"""A small configuration, and what is said of grants under it."""

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml

from broker.policy.review.flaw import Flaw
from broker.policy.review.grants import review_grants
from broker.policy.review.marks import Marks
from broker.settings import Settings
from tests.configuration import document

IDP = "https://idp.test"
WORKLOADS = "https://workloads.test"
PARTNER = "https://partner.test"
FOLDER = Path("policies")
FILE = "broker/grants/data.yaml"


ISSUERS: Final[dict[str, dict[str, Any]]] = {
    "idp": {"issuer": IDP, "clients": ["app", "front"]},
    "workloads": {"issuer": WORKLOADS, "scopeless": True, "clients": ["job"]},
    "partner": {"issuer": PARTNER, "clients": ["nobody"]},
}
CLIENTS: Final[dict[str, dict[str, Any]]] = {
    "app": {},
    "front": {"targets": ["front"]},
    "job": {},
    "nobody": {"grant_types": []},
}
TARGETS: Final[dict[str, dict[str, Any]]] = {
    "front": {"scopes": ["front.read", "front.write"]},
    "back": {"scopes": ["back.read", "back.write"]},
}


def settings(
    *,
    issuers: dict[str, Any] | None = None,
    clients: dict[str, Any] | None = None,
    targets: dict[str, Any] | None = None,
) -> Settings:
    """``app`` calls ``front``, which is a target and calls ``back``; ``job`` is a workload.

    What is given is added to the one of that name.
    """
    trusted = {"jwks": document()["issuers"][0]["jwks"], "algorithms": ["ES256"]}
    values = {
        "issuers": [
            trusted | {"alias": alias} | one | (issuers or {}).get(alias, {})
            for alias, one in ISSUERS.items()
        ],
        "clients": [
            {"id": name, "secrets": [f"sha256:{sha256(name.encode()).hexdigest()}"]}
            | one
            | (clients or {}).get(name, {})
            for name, one in CLIENTS.items()
        ],
        "targets": [
            {"name": name, "max_lifetime": "5m"} | one | (targets or {}).get(name, {})
            for name, one in TARGETS.items()
        ],
    }
    return Settings.model_validate(document(**values), context={"folder": Path()})


GOOD = {
    "app": {"front": {"scopes": ["front.read"]}},
    "front": {"back": {"scopes": ["back.read"], "derives": {"back.write": ["front.read"]}}},
    "job": {"back": {"scopes": [], "derives": {"back.read": ["identity"]}, "issuers": [WORKLOADS]}},
}


def changed(client: str, target: str, **members: Any) -> dict[str, Any]:
    """The good grants with one of them changed, or added."""
    row = GOOD.get(client, {})
    return GOOD | {client: row | {target: row.get(target, {"scopes": []}) | members}}


def said(
    grants: object, configured: Settings | None = None, *, alone: bool = False
) -> list[tuple[str, int, bool]]:
    """Subject, line and whether it fails, of all that is found."""
    return [
        (flaw.subject.removeprefix("grants "), int(flaw.place.rpartition(":")[2]), flaw.fails)
        for flaw in flaws(grants, configured, alone=alone)
    ]


def flaws(grants: object, configured: Settings | None = None, *, alone: bool = False) -> list[Flaw]:
    """All that is found, in a file with a line for each member."""
    text = yaml.safe_dump(grants, sort_keys=False).encode()
    marks = Marks({FILE: text}, FOLDER)
    found = review_grants(
        yaml.safe_load(text),
        None if alone else configured or settings(),
        lambda path: marks.find(("broker", "grants", *path)),
    )
    return list(found)
