"""The syntax of ``scope``: tokens of %x21, %x23-5B, %x5D-7E with one SP between. RFC 6749 §3.3."""

import re

from broker.errors import DecisionRejected, Reason

_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*")


def split_scope(scope: str | None) -> tuple[str, ...]:
    """Return the requested scopes, each once, in their order; none if ``scope`` is absent.

    Raises ``DecisionRejected``: ``scope.malformed``. Nothing is trimmed or normalised: a scope
    that only looks like another one is another one.
    """
    if scope is None:
        return ()
    if _SCOPE.fullmatch(scope) is None:
        raise DecisionRejected(Reason.SCOPE_MALFORMED)
    return tuple(dict.fromkeys(scope.split(" ")))
