"""What the floor looks at of a recorded input, so that it judges equal ones once.

A policy is asked about each input all the same, for a rule may depend on all of it. The floor does
not, and what it reads of an exchange is known: ``TOUCHED``, which a test observes. Of that, times
matter only by what is left of the tokens, and that only up to the longest life that either policy
gives; the subject only by whether it is who acts; claims only by their names.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

# By the part of an exchange; whatever is not named there, the floor does not read.
TOUCHED: Final[Mapping[str, frozenset[str]]] = {
    "request": frozenset({"purpose"}),
    "client": frozenset(),
    "subject": frozenset(
        {"scopes", "scopeless", "principal", "chain", "delegation_depth"}
        | {"max_delegation_depth", "expires_at", "claims"}
    ),
    "actor": frozenset({"expires_at"}),
    "delegation": frozenset(
        {"acting", "chain", "subject_chain", "depth", "max_depth", "reenters", "actor_token"}
    ),
}


def floor_key(document: Mapping[str, Any], before: object, after: object) -> bytes:
    """Return what is equal for two inputs only if the floor judges both of them alike.

    ``before`` and ``after`` are what the two policies said. Raises ``KeyError``, ``TypeError`` or
    ``AttributeError`` for members of other types than the schema says.
    """
    request, subject, actor = document["request"], document["subject"], document["actor"]
    delegation = document["delegation"]
    acting = delegation["acting"]
    longest = max(_lifetime(before), _lifetime(after))
    left = _left(subject, request, longest)
    return orjson.dumps(
        (
            *(before, after),
            *(request["targets"], request["scopes"], request["purpose"]),
            *(subject["scopes"], subject["scopeless"], list(subject["claims"]), left),
            None if actor is None else _left(actor, request, longest),
            # Where no second is left, it is told whose.
            actor is not None and actor["expires_at"] < subject["expires_at"],
            delegation,
            (subject["issuer"], subject["subject"]) == (acting["issuer"], acting["subject"]),
        ),
        option=orjson.OPT_SORT_KEYS,
    )


def _left(token: Mapping[str, Any], request: Mapping[str, Any], longest: int) -> int:
    """Return what is left of a token, in seconds, as far as it can matter."""
    expires_at, time = token["expires_at"], request["time"]
    if type(expires_at) is not int or type(time) is not int:
        raise TypeError("a time is no whole number of seconds")
    return min(expires_at - time, longest)


def _lifetime(output: object) -> int:
    lifetime = output.get("lifetime") if isinstance(output, dict) else None
    return lifetime if type(lifetime) is int else 0
