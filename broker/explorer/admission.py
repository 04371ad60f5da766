"""Who is let in: whoever opens a link that was printed for it, once and soon, and then its browser.

A link is worth nothing after its first use, so nothing of a history, a log or a shoulder. What it
is changed for is a cookie that no script reads and no other site's page sends along.
"""

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final

LINK_LIFE: Final = 600.0  # seconds
SESSION_LIFE: Final = 12 * 3600.0  # seconds
_SESSIONS: Final = 8  # at a time; the oldest one ends for another
_BYTES: Final = 32


class Admission:
    """The links and sessions of one explorer. Only hashes of them are held."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # Cookies know no ports: another explorer of this machine must not be sent this one's.
        self.cookie = f"explorer_{secrets.token_hex(8)}"
        self._link: tuple[bytes, float] | None = None
        self._sessions: list[tuple[bytes, float]] = []

    def __repr__(self) -> str:
        return f"Admission(sessions={len(self._sessions)})"

    def new_link(self) -> str:
        """Return the token of a new link; the one before is worth nothing more."""
        token = secrets.token_urlsafe(_BYTES)
        self._link = (_hash(token), self._monotonic() + LINK_LIFE)
        return token

    def redeem(self, token: str) -> str | None:
        """Return the cookie of a new session; None: the link was used, is too old or was never."""
        now = self._monotonic()
        if self._link is None:
            return None
        expected, until = self._link
        if not hmac.compare_digest(_hash(token), expected):
            return None
        self._link = None
        if now >= until:
            return None
        cookie = secrets.token_urlsafe(_BYTES)
        self._sessions = [*self._sessions, (_hash(cookie), now + SESSION_LIFE)][-_SESSIONS:]
        return cookie

    def admits(self, cookie: str) -> bool:
        """Whether a session has this cookie and is not over."""
        now, found = self._monotonic(), _hash(cookie)
        # All are compared, so that how long it takes says nothing.
        matches = [hmac.compare_digest(found, one) and now < until for one, until in self._sessions]
        return any(matches)


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()
