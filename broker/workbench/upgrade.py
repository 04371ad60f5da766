"""Recorded inputs of an older version, brought to the one of now by declared steps.

A record says of which version its policy input is; one that does not is of the first. Each change
to ``policies/schemas/input.json`` is a new version, and brings a step from the one before, or the
older ones cannot be replayed and are counted as that. Nothing is guessed: an input that has other
members than its version says is not replayed either.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from broker.domain import INPUT_VERSION
from broker.workbench.recorded import NotReplayable

FIRST: Final = 1  # of records that do not say

Document = Mapping[str, Any]
# From a version to the next one. Makes a new document, and raises ``NotReplayable`` for an input of
# which it cannot know what the newer one would have said.
Upgrade = Callable[[Document], Document]
UPGRADES: Final[Mapping[int, Upgrade]] = {}  # by the version that it starts from

_REQUEST: Final = frozenset(
    {"id", "time", "audiences", "resources", "targets", "scopes"}
    | {"requested_token_type", "purpose", "source"}
)
_TOKEN: Final = frozenset(
    {"issuer", "subject", "client_id", "token_type", "scopes", "scopeless", "audiences"}
    | {"issued_at", "expires_at", "claims"}
)
# The members of the current version, where they are objects of one kind.
SHAPE: Final[Mapping[str, frozenset[str]]] = {
    "request": _REQUEST,
    "client": frozenset({"id", "auth_method", "targets"}),
    "subject": _TOKEN,
    "actor": _TOKEN,
    "delegation": frozenset(
        {"acting", "chain", "depth", "max_depth", "reenters", "actor_token"},
    ),
}


class UnknownVersion(NotReplayable):
    """No declared steps lead from the input's version to the one of now."""


def upgrade_input(
    document: Document,
    version: object,
    *,
    current: int = INPUT_VERSION,
    upgrades: Mapping[int, Upgrade] = UPGRADES,
) -> Document:
    """Return the input as one of the version ``current``.

    ``version`` is what the record says; None if it does not. Raises ``UnknownVersion``, or
    ``NotReplayable`` for an input that is none of its version.
    """
    found = FIRST if version is None else version
    if type(found) is not int or not FIRST <= found <= current:
        raise UnknownVersion("its version of the policy input is not known here")
    for number in range(found, current):
        step = upgrades.get(number)
        if step is None:
            raise UnknownVersion(f"nothing is declared that leads on from input version {number}")
        document = step(document)
    require_shape(document)
    return document


def require_shape(document: Document) -> None:
    """Raise ``NotReplayable`` unless the members are those of the current version."""
    if document.keys() != SHAPE.keys():
        raise NotReplayable("it has other members than schemas/input.json says")
    for name, members in SHAPE.items():
        value = document[name]
        if value is None and name == "actor":
            continue
        if not isinstance(value, dict) or value.keys() != members:
            raise NotReplayable(f"{name} has other members than schemas/input.json says")
