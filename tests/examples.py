"""The ten use cases below ``examples/``, each made whole in a folder of its own."""

import shutil
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from broker.minting.claims import build_act
from broker.oauth import TokenType
from broker.policy.scaffold.complete import complete_folder
from broker.settings import Settings
from broker.workbench.question import SupposedToken
from broker.workbench.suppose import find_issuer
from tests.jwts import jwt, public_jwk

KEY: Final = ec.generate_private_key(ec.SECP256R1())  # of every issuer
ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "examples"
NAMES: Final = tuple(sorted(path.parent.name for path in FOLDER.glob("*/broker.yaml")))


def make_whole(name: str, place: Path) -> Path:
    """Copy what the project has of an example, complete its policy, and return its folder."""
    folder = place / name
    # What somebody tried in the checkout is none of this.
    tried = shutil.ignore_patterns("exchange", "library", "proxy", "schemas", ".*")
    shutil.copytree(FOLDER / name, folder, ignore=tried)
    complete_folder(folder / "policies")
    return folder


def sign(supposed: SupposedToken, settings: Settings, client: str, at: datetime) -> str:
    """A token that says what is supposed, signed with ``KEY`` as its issuer would at that time."""
    assert not supposed.exchanged
    issuer = find_issuer(supposed.issuer, settings)
    now = int(at.timestamp())
    claims: dict[str, Any] = {
        **supposed.claims,
        "iss": issuer.issuer,
        "sub": supposed.subject,
        "aud": list(supposed.audiences) or client,
        "iat": now - int(supposed.age.total_seconds()),
        "exp": now + int(supposed.life.total_seconds()),
        "jti": str(uuid.uuid4()),
    }
    if supposed.scopes:
        claims[issuer.scope_claim] = " ".join(sorted(supposed.scopes))
    if supposed.client_id is not None:
        claims[issuer.client_claim] = supposed.client_id
    if supposed.chain:
        claims["act"] = build_act(supposed.chain)
    typ = "at+jwt" if supposed.token_type is TokenType.ACCESS_TOKEN else "JWT"
    return jwt(claims, key=KEY, header={"typ": typ})


def with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The configuration of an example whose issuers have ``KEY`` and no address."""
    keys = {"jwks": {"keys": [public_jwk(KEY, alg="ES256")]}, "algorithms": ["ES256"]}
    issuers = [
        {name: value for name, value in issuer.items() if name != "discovery"} | keys
        for issuer in document["issuers"]
    ]
    return document | {"issuers": issuers}
