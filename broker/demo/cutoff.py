"""How the demo's story ends: the user's access is cut, and who notices that how soon.

Each value says what was asked and answered, and whether that is what the story needs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import httpx

REASON: Final = "laptop stolen"


@dataclass(frozen=True, slots=True)
class Cut:
    """What the admin API answered to the revocation."""

    order: Mapping[str, str]  # as it was sent
    least: int  # live tokens that it has to have hit
    status: int
    body: Mapping[str, Any] = field(repr=False)

    @property
    def hits(self) -> Mapping[str, Any]:
        """What it hit; nothing, where that is not told."""
        hits = self.body.get("hits")
        return hits if isinstance(hits, dict) else {}

    @property
    def is_as_expected(self) -> bool:
        """Whether all of the user's tokens that the story knows of were hit."""
        return self.status == httpx.codes.CREATED and self.hits.get("tokens", 0) >= self.least

    @property
    def over_at(self) -> float:
        """The first second (since 1970) in which a new login counts as later."""
        not_before = datetime.fromisoformat(self.body["rule"]["not_before"])
        # ``iat`` is in whole seconds, and a token of the same second is dead rather than alive.
        return math.ceil(not_before.timestamp())


@dataclass(frozen=True, slots=True)
class Introspected:
    """What a resource server was told of a token, before the cut and after it."""

    client: str  # who asked
    issued_to: str
    before: Mapping[str, Any] = field(repr=False)
    after: Mapping[str, Any] = field(repr=False)

    @property
    def is_as_expected(self) -> bool:
        """Whether it was told everything, and then nothing. RFC 7662 §2.2."""
        told = {"scope", "act", "aud", "exp"} <= self.before.keys()
        return self.before.get("active") is True and told and self.after == {"active": False}
