"""What stands on one card of the tree: a token from elsewhere, a row, or rows that are left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from broker.audit.members import (
    find_list,
    find_number,
    find_text,
    find_texts,
)
from broker.audit.transaction import Step
from broker.explorer.text import bounded, in_zone
from broker.explorer.times import show_age

_SCOPES: Final = 6  # lines of scopes on a card
_REASONS: Final = 3
_TOLD: Final = 400  # characters of one value in the words for a screen reader
UNKNOWN: Final = "somebody not established"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a card. ``looks`` are names of the style sheet; ``end`` stands at the right."""

    text: str
    looks: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What a box of the tree shows. ``href`` None: it leads nowhere."""

    lines: tuple[Line, ...]
    looks: str
    words: str  # all of it as a sentence
    href: str | None = None
    current: bool = False


def build_origin(step: Step, steps: int) -> Card:
    """Return the card of a token that has no row here: of ``step``, and as many as came of it."""
    issuer = find_text(step.record, "subject_token", "issuer")
    subject = subject_of(step)
    ours = issuer is not None and issuer == find_text(step.record, "issuer")
    kind = "a token of ours, without its row" if ours else f"a token of {_bare(issuer or UNKNOWN)}"
    lines = [Line(subject or UNKNOWN, "name"), Line(kind, "quiet")]
    lines += _bounded([Line(scope, "scope") for scope in step.held], _SCOPES)
    words = (
        f"{_told(kind)} for {_told(subject or UNKNOWN)},"
        f" with {_listed(step.held) or 'no known scopes'}; exchanged {_times(steps)}"
    )
    return Card(tuple(lines), "origin", words)


def build_row(
    step: Step, *, href: str, current: bool, before: datetime | None, zone: tzinfo
) -> Card:
    """Return the card of a row; ``before`` is the time of the card that it hangs on."""
    row, record = step.row, step.record
    outcome = str(row.get("outcome"))
    at = in_zone(row["at"], zone)
    client, targets = str(row.get("client") or "·"), ", ".join(map(str, row.get("targets") or "·"))
    lifetime = find_number(record, "lifetime") if outcome == "issued" and not step.again else None
    life = "" if lifetime is None else show_age(timedelta(seconds=lifetime))
    reasons = _reasons(step) if outcome == "refused" else ()
    lines = [
        Line(f"{client} → {targets}", "name"),
        Line(
            _moment(at, before, zone),
            "quiet",
            life,
        ),
        *([Line("given out again", "quiet"), Line(step.again, "quiet")] if step.again else []),
        *_bounded([Line(reason, "reason") for reason in reasons], _REASONS),
        *_bounded(list(_scopes(step)), _SCOPES),
    ]
    looks = outcome if outcome in {"issued", "refused"} else "done"
    words = _sentence(step, at, client, targets, life, reasons)
    return Card(tuple(lines), looks, words, href, current)


def build_more(count: int, refused: int, href: str) -> Card:
    """Return the card that stands for rows which are not drawn."""
    some = f", {refused} refused" if refused else ""
    text = f"{count} more{some}"
    lines = (Line(text, "name"), Line("show them as a list", "link"))
    return Card(lines, "more", f"{text}, not drawn: show them as a list", href)


def subject_of(step: Step) -> str | None:
    """Return for whom: the name where the record is open, else the pseudonym."""
    personal = find_text(step.record, "personal", "subject", "subject")
    return personal or find_text(step.record, "subject", "subject")


def _scopes(step: Step) -> Iterator[Line]:
    if step.again:
        return
    if step.row.get("outcome") != "issued":
        asked = find_text(step.record, "asked", "scope")
        for scope in (asked or "").split():
            yield Line(f"asked: {scope}", "scope asked")
        return
    sources = _sources(step)
    for scope in step.row.get("scopes") or ():
        source = sources.get(str(scope))
        if source is None:
            yield Line(str(scope), "scope kept")
        else:
            yield Line(f"{scope} ← {source}", "scope derived")
    for scope in step.dropped:
        yield Line(scope, "scope cut")


def _sources(step: Step) -> dict[str, str]:
    """Return what each derived scope follows from."""
    return {
        scope: source
        for one in find_list(step.record, "derived")
        if (scope := find_text(one, "scope")) and (source := find_text(one, "from"))
    }


def _sentence(
    step: Step,
    at: datetime,
    client: str,
    targets: str,
    life: str,
    reasons: Sequence[str],
) -> str:
    outcome = str(step.row.get("outcome"))
    how = f"the token {_told(step.again)} given out again" if step.again else outcome
    said = [f"{how} to {_told(client)} for {_told(targets)}, {at:%Y-%m-%d %H:%M:%S %Z}"]
    if reasons:
        said.append(f"because of {_listed(reasons)}")
    if subject := subject_of(step):
        said.append(f"on behalf of {_told(subject)}")
    if outcome == "issued":
        said.append(f"with {_listed(step.row.get('scopes') or ()) or 'no scopes'}")
        if step.dropped:
            said.append(f"without {_listed(step.dropped)}, which the token before it had")
    if life:
        said.append(f"for {life}")
    if revision := find_text(step.record, "policy", "revision"):
        said.append(f"policy {_told(revision[:19])}")
    return "; ".join(said)


def _reasons(step: Step) -> tuple[str, ...]:
    recorded = find_texts(step.record, "reasons")
    first = step.row.get("reason")
    return recorded or ((str(first),) if first else ())


def _bounded(lines: list[Line], most: int) -> list[Line]:
    """Return as many lines as there is room for, and how many there are besides."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], Line(f"and {len(lines) - most + 1} more", "quiet")]


def _moment(at: datetime, before: datetime | None, zone: tzinfo) -> str:
    """Return the time, with its date where that is another one than on the card before."""
    same = before is not None and in_zone(before, zone).date() == at.date()
    return f"{at:%H:%M:%S}" if same else f"{at:%Y-%m-%d %H:%M:%S}"


def _bare(issuer: str) -> str:
    """Return an issuer without the scheme that all of them have."""
    return issuer.removeprefix("https://")


def _listed(values: Sequence[Any]) -> str:
    shown = [_told(value) for value in values[:20]]
    left = len(values) - len(shown)
    return ", ".join([*shown, f"{left} more"] if left > 0 else shown)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _told(value: object) -> str:
    return bounded(value, _TOLD)
