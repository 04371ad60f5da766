"""A row of the trail as a decision that can be made again, or why it cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

from broker.errors import Reason
from broker.workbench.recorded import NotReplayable
from broker.workbench.upgrade import UnknownVersion, upgrade_input

_DAY: Final = len("2026-11-24")


class Cause(StrEnum):
    """Why a row is not replayed. Each is counted, and none is passed over in silence."""

    BEFORE_POLICY = "before_policy"  # refused before the policy was asked
    COUNTED = "counted"  # refusals that share a row, so no input was recorded
    UNANSWERED = "unanswered"  # the policy could not be asked then
    ERASED = "erased"  # a person in it was erased
    SEALED = "sealed"  # no audit key was given
    UNREADABLE = "unreadable"  # changed, or of another audit key
    OMITTED = "omitted"  # the input, or what the policy said, was too large to be recorded
    VERSION = "version"  # an input that no declared upgrade leads on from
    MALFORMED = "malformed"  # nothing that a broker has written
    PROXY = "proxy"  # decided by what the policy says of the token proxy


@dataclass(frozen=True, slots=True)
class Lost:
    """What cannot be replayed."""

    cause: Cause
    count: int = 1


@dataclass(frozen=True, slots=True)
class Past:
    """A decision that was made: what was asked then, and what was said."""

    id: str  # of its row
    at: str  # as records spell times
    client: str
    targets: str  # their names
    issuer: str  # our own, which names clients and no persons
    revision: str  # of the policy then
    document: Mapping[str, Any] = field(repr=False)  # the input, of the version of now
    input: bytes = field(repr=False)  # the same as JSON
    output: Any = field(repr=False)  # what the policy said then, unjudged

    @property
    def day(self) -> str:
        """The day of it, UTC."""
        return self.at[:_DAY]


def read_past(record: Mapping[str, Any]) -> Past | Lost:
    """Return a decision that was made, of an opened record; or why it cannot be made again."""
    try:
        return _read(record)
    except UnknownVersion:
        return Lost(Cause.VERSION)
    except (NotReplayable, KeyError, TypeError, ValueError, AttributeError):
        # Whoever can write into the table can write anything; it keeps nobody from the others.
        return Lost(Cause.MALFORMED)


def _read(record: Mapping[str, Any]) -> Past | Lost:
    kind = record["kind"]
    if kind == "refusals":
        total = record["total"]
        return Lost(Cause.COUNTED, total if type(total) is int and total > 0 else 1)
    if kind == "proxy":
        return Lost(Cause.PROXY)
    policy = record.get("policy")
    if policy is None:
        unasked = (record.get("reasons") or [None])[0] == Reason.POLICY_UNAVAILABLE
        return Lost(Cause.UNANSWERED if unasked else Cause.BEFORE_POLICY)
    personal = record["personal"]
    for cause in (Cause.SEALED, Cause.ERASED, Cause.UNREADABLE):
        if personal.get(cause.value) is True:
            return Lost(cause)
    found, output = personal["policy_input"], personal["decision"]
    if _is_omitted(found) or _is_omitted(output):
        return Lost(Cause.OMITTED)
    document = upgrade_input(found, policy.get("input_version"))
    targets = ", ".join(target["name"] for target in document["request"]["targets"])
    return Past(
        id=str(record["id"]),
        at=str(record["at"]),
        client=str(document["client"]["id"]),
        targets=targets,
        issuer=str(record.get("issuer", "")),
        revision=str(policy["revision"]),
        document=document,
        input=orjson.dumps(document),
        output=output,
    )


def _is_omitted(document: object) -> bool:
    return isinstance(document, dict) and document.keys() == {"omitted"}
