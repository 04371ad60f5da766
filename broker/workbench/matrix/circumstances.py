"""When, from where and with which claims is asked: what a rule may look at beside the names.

Each is declared, since nobody can try every time and every claim. Where what is obtained is not
the same under all of them, the matrix says on which it depends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any, Final

from broker.errors import ConfigurationError

MOST: Final = 64
NO_SOURCE: Final = "192.0.2.1"  # RFC 5737: an address of nobody


@dataclass(frozen=True, slots=True)
class Circumstance:
    """One of the settings in which everything is asked."""

    at: datetime
    source: str = NO_SOURCE
    claims: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return each thing that may differ from one to another, by its name."""
        return {
            "at": self.at,
            "source": self.source,
            **{f"claim {name}": value for name, value in self.claims.items()},
        }

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "at": self.at.isoformat(),
            "source": self.source,
            "claims": dict(self.claims),
        }


def combine(
    times: Sequence[datetime], sources: Sequence[str], claims: Mapping[str, Sequence[Any]]
) -> tuple[Circumstance, ...]:
    """Return every combination; of each claim its values are alternatives.

    Raises ``ConfigurationError`` if there are more than ``MOST``.
    """
    names = list(claims)
    found = tuple(
        Circumstance(at, source, dict(zip(names, values, strict=True)))
        for at, source, *values in product(times, sources or (NO_SOURCE,), *claims.values())
    )
    if len(found) > MOST:
        raise ConfigurationError(
            f"these times, sources and claims have {len(found)} combinations; {MOST} are tried"
        )
    return found


def find_dependencies(
    circumstances: Sequence[Circumstance], when: frozenset[int]
) -> tuple[str, ...]:
    """Return on what it depends, if something holds in these circumstances and not in the others.

    A thing is named if changing it alone makes the difference; all that varies, if none does.
    """
    if not when or len(when) == len(circumstances):
        return ()
    facts = [one.facts() for one in circumstances]
    names = [name for name in facts[0] if any(one[name] != facts[0][name] for one in facts)]
    alone = {
        differing[0]
        for number in when
        for other in range(len(facts))
        if other not in when
        and len(differing := [n for n in names if facts[number][n] != facts[other][n]]) == 1
    }
    return tuple(name for name in names if name in alone) or tuple(names)
