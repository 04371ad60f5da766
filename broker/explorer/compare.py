"""The token that was presented and the token that was issued, side by side, as the record has them.

A record holds no token. It holds what policy was told of the one and what was granted of the other;
what neither says is said to be unknown, not left out. Where ``personal`` is sealed or erased, this
is most of the left side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from json import dumps
from typing import Any, Final

from broker.audit.members import (
    find_list,
    find_member,
    find_number,
    find_text,
    find_texts,
    find_time,
)
from broker.explorer.text import bounded

_HIDDEN: Final[Mapping[str, str]] = {
    "sealed": "Who it was for, what the presented token said and what policy was told are"
    " encrypted. Start the explorer with the audit key to see them.",
    "erased": "A person of this row was erased: who it was for, what the presented token said and"
    " what policy was told cannot be read by anybody any more.",
    "unreadable": "This row does not open with this audit key: it was changed, or was written"
    " under another one. Verify the trail.",
}
_LONGEST: Final = 1024  # characters of a value
NOT_SEEN: Final = "carried on, if the token had it"
_SUBJECT: Final = ("personal", "policy_input", "subject")


class Change(StrEnum):
    """What became of a claim."""

    KEPT = "kept"
    CHANGED = "changed"
    ADDED = "added"
    DROPPED = "dropped"
    UNKNOWN = "unknown"  # one of the two sides cannot be seen


class Fate(StrEnum):
    """What became of a scope."""

    KEPT = "kept"
    DERIVED = "derived"  # follows from one that was held
    CUT = "cut"
    GRANTED = "granted"  # what was held cannot be seen
    GAINED = "gained"  # from nothing: the broker never grants this


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim on both sides; None: it is not there, or cannot be seen."""

    name: str
    before: str | None
    after: str | None
    change: Change


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope, and what it follows from if it is derived."""

    name: str
    fate: Fate
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a token could be used: when it was issued, until when, and for how many seconds."""

    issued_at: datetime | None
    expires_at: datetime | None

    @property
    def seconds(self) -> int | None:
        """From one to the other."""
        if self.issued_at is None or self.expires_at is None:
            return None
        return int((self.expires_at - self.issued_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both tokens. Of a refusal ``issued`` is false, and there is nothing on the right side."""

    issued: bool
    claims: tuple[Claim, ...]
    scopes: tuple[Scope, ...]  # kept, derived, then cut
    asked: tuple[str, ...]  # the scopes that the request named
    before: Lifetime
    after: Lifetime | None
    hidden: str | None  # why parts of it cannot be seen, as a sentence


def compare(record: Mapping[str, Any]) -> Comparison | None:
    """Return both tokens of an exchange as its opened record has them; None: it is about none."""
    if not isinstance(find_member(record, "subject_token"), Mapping):
        return None
    issued = find_text(record, "outcome") == "issued"
    return Comparison(
        issued=issued,
        claims=tuple(_claims(record, issued=issued)),
        scopes=tuple(_scopes(record, issued=issued)),
        asked=tuple((find_text(record, "asked", "scope") or "").split()),
        before=Lifetime(
            find_time(record, *_SUBJECT, "issued_at"),
            find_time(record, *_SUBJECT, "expires_at")
            or find_time(record, "subject_token", "expires_at"),
        ),
        after=_lifetime(record) if issued else None,
        hidden=_hidden(record),
    )


def _hidden(record: Mapping[str, Any]) -> str | None:
    for state, said in _HIDDEN.items():
        if find_member(record, "personal", state) is True:
            return said
    return None


def _lifetime(record: Mapping[str, Any]) -> Lifetime:
    return Lifetime(find_time(record, "issued_at"), find_time(record, "expires_at"))


def _scopes(record: Mapping[str, Any], *, issued: bool) -> Iterator[Scope]:
    """Yield each scope of either side once."""
    known = isinstance(find_member(record, *_SUBJECT, "scopes"), list)
    held = find_texts(record, *_SUBJECT, "scopes")
    if not issued:
        yield from (Scope(name, Fate.KEPT) for name in held)
        return
    granted = find_texts(record, "scopes")
    sources = {
        scope: source
        for one in find_list(record, "derived")
        if (scope := find_text(one, "scope")) and (source := find_text(one, "from"))
    }
    yield from (Scope(name, Fate.KEPT) for name in granted if name in held)
    for name in granted:
        if name in held:
            continue
        if name in sources:
            yield Scope(name, Fate.DERIVED, sources[name])
        else:
            yield Scope(name, Fate.GAINED if known else Fate.GRANTED)
    yield from (Scope(name, Fate.CUT) for name in held if name not in granted)


def _claims(record: Mapping[str, Any], *, issued: bool) -> Iterator[Claim]:
    """Yield the claims in the order in which one asks: whose, for whom, by whom, then which."""
    told = isinstance(find_member(record, *_SUBJECT), Mapping)
    for name, before, after, seen in (*_known(record, told=told), *_carried(record, told=told)):
        if before is None and (after is None or not issued):
            continue
        shown = after if issued else None
        change = _change(before, shown, seen=seen and issued)
        yield Claim(bounded(name, _LONGEST), _legible(before), _legible(shown), change)


def _change(before: str | None, after: str | None, *, seen: bool) -> Change:
    if not seen:
        return Change.UNKNOWN
    if before is None:
        return Change.ADDED
    if after is None:
        return Change.DROPPED
    return Change.KEPT if before == after else Change.CHANGED


# Name, value before and after, and whether None before means that it was not there.
_Pair = tuple[str, str | None, str | None, bool]


def _known(record: Mapping[str, Any], *, told: bool) -> Iterator[_Pair]:
    """Yield what every token of ours says; ``told``: what policy was asked can be seen."""
    token, verified = "subject_token", find_text(record, "subject_token", "issuer") is not None
    ours = verified and find_text(record, token, "issuer") == find_text(record, "issuer")
    yield "iss", find_text(record, token, "issuer"), find_text(record, "issuer"), verified
    # The same on both sides: the broker cannot change for whom a token is.
    whose = _subject(record)
    yield "sub", whose, whose, verified
    yield "aud", _listed(find_texts(record, *_SUBJECT, "audiences")), _audience(record), told
    before = find_text(record, *_SUBJECT, "client_id")
    yield "client_id", before, find_text(record, "client", "id"), told
    yield "act", *_chains(record, told=told)
    jti, txn = find_text(record, "jti"), find_text(record, "txn")
    yield "jti", find_text(record, token, "jti"), jti, verified
    yield "txn", None if txn == jti else txn, txn, verified
    yield "kid", find_text(record, token, "kid"), find_text(record, "kid"), verified
    yield "purpose", None, find_text(record, "purpose"), not ours and told
    depth, most = find_number(record, "depth"), find_number(record, "max_depth")
    passed = str(depth - 1) if ours and depth else None
    yield "delegation_depth", passed, _text(depth), verified
    yield "max_delegation_depth", None, _text(most), False


def _carried(record: Mapping[str, Any], *, told: bool) -> Iterator[_Pair]:
    """Yield the claims of the subject that policy saw, and those that were to be carried on."""
    seen = find_member(record, *_SUBJECT, "claims")
    values = (
        {str(name): _rendered(value) for name, value in seen.items()}
        if told and isinstance(seen, Mapping)
        else {}
    )
    carried = find_texts(record, "personal", "decision", "claims")
    for name in dict.fromkeys((*values, *carried)):
        # One may be carried on that policy was not shown: then the record has no value of it.
        before = values.get(name)
        after = NOT_SEEN if before is None else before
        yield name, before, after if name in carried else None, name in values


def _chains(record: Mapping[str, Any], *, told: bool) -> tuple[str | None, str | None, bool]:
    """Return the chain of actors in both tokens, the current one first, and whether both are known.

    A record has the chain that came out. Each exchange adds one actor at most, so where there are
    as many as exchanges, this one did; and impersonation adds none.
    """
    actors = [one for actor in _actors(record) if (one := _party(actor)) is not None]
    depth = find_number(record, "depth")
    if find_text(record, "mode") == "impersonation":
        before = actors
    elif actors and len(actors) == depth:
        before = actors[1:]
    else:
        return None, _listed(actors, " for "), not actors and told
    return _listed(before, " for "), _listed(actors, " for "), True


def _actors(record: Mapping[str, Any]) -> Sequence[Any]:
    return find_list(record, "personal", "actors") or find_list(record, "actors")


def _subject(record: Mapping[str, Any]) -> str | None:
    opened = _party(find_member(record, "personal", "subject"))
    return opened or _party(find_member(record, "subject"))


def _party(value: Any) -> str | None:  # noqa: ANN401 — stands for any JSON value
    """Return an identity, which is always a pair."""
    if not isinstance(value, Mapping):
        return None
    issuer, subject = find_text(value, "issuer"), find_text(value, "subject")
    return None if issuer is None or subject is None else f"{subject} of {issuer}"


def _audience(record: Mapping[str, Any]) -> str | None:
    """Return what the targets are called in tokens; where that cannot be seen, their names."""
    targets = find_texts(record, "targets")
    known = {
        name: audience
        for one in find_list(record, "personal", "policy_input", "request", "targets")
        if (name := find_text(one, "name")) and (audience := find_text(one, "audience"))
    }
    return _listed([known.get(target, f"target {target}") for target in targets])


def _listed(values: Sequence[str], between: str = ", ") -> str | None:
    return between.join(values) or None


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _rendered(value: Any) -> str:  # noqa: ANN401 — stands for any JSON value
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False)


def _legible(value: str | None) -> str | None:
    return None if value is None else bounded(value, _LONGEST)
