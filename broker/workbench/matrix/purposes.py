"""Which purposes a policy takes, where it asks for one: found by giving each."""

from collections.abc import Callable, Iterator
from typing import Final

from broker.domain import Permit
from broker.errors import Reason
from broker.workbench.matrix.answer import Decision

_ABOUT: Final = frozenset({Reason.POLICY_PURPOSE_MISSING, Reason.POLICY_PURPOSE_NOT_ALLOWED})


def find_purposes(
    ask: Callable[[str | None], Decision], names: tuple[str, ...], declared: tuple[str, ...]
) -> tuple[str | None, ...]:
    """Return what to give: None where nothing need be, and whichever of ``names`` is taken.

    ``ask`` tells what comes of a purpose; those that are ``declared`` are given everywhere.
    """
    return tuple(dict.fromkeys(_find(ask, names, declared)))


def _find(
    ask: Callable[[str | None], Decision], names: tuple[str, ...], declared: tuple[str, ...]
) -> Iterator[str | None]:
    if not _refuses(ask(None)):
        yield None
        yield from declared
        return
    taken = [name for name in names if not _refuses(ask(name))]
    yield from taken or (None,)


def _refuses(decision: Decision) -> bool:
    return not isinstance(decision, Permit) and not _ABOUT.isdisjoint(decision.reasons)
