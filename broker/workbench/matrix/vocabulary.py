"""The names that are tried: scopes that a subject may hold, and purposes that may be given.

What is granted is always a scope of the target, which the configuration names. What it may follow
from is a name that only the policy knows, so every text in its data and its Rego is tried as one.
That a name stands there says nothing: it is held, or given, and what comes of it is seen.

Not tried, unless they are scopes of a target or declared: what the configuration calls clients,
targets and issuers, durations, the members of a grant, and the words of the stock Rego.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson

from broker.errors import Reason
from broker.policy.bundle import Bundle
from broker.policy.grants import Grant
from broker.policy.snapshot import take_snapshot
from broker.policy.stock import find_stock
from broker.settings import Settings

MOST: Final = 500  # names of a kind, beyond those that are configured or declared
_SCOPE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}")
_TEXT: Final = re.compile(rb'"((?:[^"\\\n]|\\.){1,256})"|`([^`\n]{1,256})`')
_DURATION: Final = re.compile(r"[0-9]{1,9}[smhd]")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What is tried."""

    scopes: frozenset[str]  # that a subject holds when it holds everything
    likely: frozenset[str]  # those of them that are held alone as well
    purposes: tuple[str, ...]  # tried where the policy asks for one
    declared: tuple[str, ...] = ()  # purposes that are tried everywhere
    complete: bool = True  # False: the policy has more names than are tried

    def __or__(self, other: "Vocabulary") -> "Vocabulary":
        """Return what either has, so that two policies are asked the same."""
        return Vocabulary(
            self.scopes | other.scopes,
            self.likely | other.likely,
            tuple(dict.fromkeys((*self.purposes, *other.purposes))),
            tuple(dict.fromkeys((*self.declared, *other.declared))),
            self.complete and other.complete,
        )


def gather(
    bundle: Bundle, settings: Settings, *, holds: Iterable[str] = (), purposes: Iterable[str] = ()
) -> Vocabulary:
    """Return what is tried of this policy.

    ``holds`` are all that a subject ever holds, if any are named; ``purposes`` come first.
    """
    declared, only = tuple(dict.fromkeys(purposes)), frozenset(holds)
    known = {scope for target in settings.targets for scope in target.scopes}
    passed_over = known | _words() | _parties(settings)
    asked = [
        name
        for name in sorted(set(_names(bundle)))
        if name not in passed_over and not _DURATION.fullmatch(name)
    ]
    if only:
        scopes, likely = only, only
    else:
        more = [name for name in asked if _SCOPE.fullmatch(name)]
        scopes, likely = frozenset({*known, *more[:MOST]}), frozenset(known)
    return Vocabulary(
        scopes,
        likely,
        tuple(dict.fromkeys((*declared, *asked[:MOST]))),
        declared,
        complete=len(asked) <= MOST,
    )


def _names(bundle: Bundle) -> Iterator[str]:
    yield from _texts(orjson.loads(bundle.data))
    for module in bundle.modules.values():
        yield from _literals(module)


def _literals(module: bytes) -> Iterator[str]:
    for match in _TEXT.finditer(module):
        yield (match[1] or match[2]).decode("utf-8", "replace")


def _parties(settings: Settings) -> set[str]:
    names = {settings.issuer, *(one.id for one in settings.clients)}
    names |= {name for one in settings.targets for name in (one.name, one.audience)}
    return names | {name for one in settings.issuers for name in (one.issuer, one.alias)}


@cache
def _words() -> frozenset[str]:
    modules = take_snapshot(find_stock())
    literals = (
        word for name, text in modules.items() if name.endswith(".rego") for word in _literals(text)
    )
    return frozenset({*literals, *Grant.model_fields, *Reason})


def _texts(document: Any) -> Iterator[str]:  # noqa: ANN401 — whatever JSON holds
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and 0 < len(one) <= 128:
            yield one
