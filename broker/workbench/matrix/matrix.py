"""The matrix: which cells there are, and what was asked to find them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final

from broker.domain import Deny, Target
from broker.errors import ConfigurationError, Reason
from broker.policy.difference import terms_of
from broker.settings import Settings, TrustedIssuer
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.answer import Decision, Failed
from broker.workbench.matrix.cell import Cell, Obtainable
from broker.workbench.matrix.circumstances import Circumstance, find_dependencies
from broker.workbench.matrix.probe import (
    SUBJECT,
    Budget,
    Prober,
    Spent,
    assume,
    open_prober,
    suppose_subject,
)
from broker.workbench.matrix.purposes import find_purposes
from broker.workbench.matrix.vocabulary import Vocabulary
from broker.workbench.matrix.ways import Way, find_ways
from broker.workbench.verdict import verdict_of

FORMAT: Final = "broker-policy-matrix"
VERSION: Final = 1
_DEADLY: Final = 8  # faults of one cell that are told

Progress = Callable[[int, int, int], None]  # cells done, cells in all, evaluations


@dataclass(frozen=True, slots=True)
class Area:
    """Which part of the configuration is looked at."""

    clients: tuple[str, ...]
    targets: tuple[Target, ...]
    issuers: tuple[TrustedIssuer, ...]

    @property
    def size(self) -> int:
        """How many cells that is."""
        return len(self.clients) * len(self.targets) * len(self.issuers)


def find_area(
    settings: Settings,
    *,
    clients: Sequence[str] = (),
    targets: Sequence[str] = (),
    issuers: Sequence[str] = (),
) -> Area:
    """Return what these names are; none of a kind are all. Raises ``ConfigurationError``."""
    return Area(
        tuple(_pick("client", clients, {one.id: one.id for one in settings.clients})),
        tuple(_pick("target", targets, {one.name: one for one in settings.targets})),
        tuple(
            _pick(
                "issuer",
                [next((i.alias for i in settings.issuers if i.issuer == n), n) for n in issuers],
                {one.alias: one for one in settings.issuers},
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, beside the policy."""

    area: Area
    circumstances: tuple[Circumstance, ...]
    vocabulary: Vocabulary
    subject: str = SUBJECT
    holds: tuple[str, ...] = ()  # all that a subject ever holds; none: whatever there is


@dataclass(frozen=True, slots=True)
class Matrix:
    """Who may obtain what, by one policy."""

    revision: str
    asked: Asked
    cells: tuple[Cell, ...]
    evaluations: int
    stopped: str = ""  # why not all cells were looked at; empty: all of them were
    assumed: tuple[tuple[str, str], ...] = field(default=())  # an issuer, and a claim it requires

    @property
    def filled(self) -> tuple[Cell, ...]:
        """The cells in which something may be obtained."""
        return tuple(cell for cell in self.cells if cell.obtainable)

    @property
    def faulty(self) -> tuple[Cell, ...]:
        """The cells in which the policy did something wrong, as against saying no."""
        return tuple(cell for cell in self.cells if cell.faults)

    @property
    def reasons(self) -> dict[Reason, int]:
        """How many cells are empty for which reason."""
        counts: dict[Reason, int] = {}
        for cell in self.cells:
            for reason in cell.reasons[:1]:
                counts[reason] = counts.get(reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it; ``docs/how-to/see-who-may-get-what.md`` says what it means."""
        asked = self.asked
        return {
            "format": FORMAT,
            "version": VERSION,
            "revision": self.revision,
            "whole": not self.stopped,
            "stopped": self.stopped or None,
            "evaluations": self.evaluations,
            "subject": asked.subject,
            "holds": list(asked.holds) or None,
            "circumstances": [one.render() for one in asked.circumstances],
            "assumed": [{"issuer": issuer, "claim": claim} for issuer, claim in self.assumed],
            "names_complete": asked.vocabulary.complete,
            "cells": [cell.render() for cell in self.cells],
        }


def survey(
    candidate: Candidate,
    settings: Settings,
    asked: Asked,
    budget: Budget,
    progress: Progress = lambda _done, _all, _used: None,
) -> Matrix:
    """Return the matrix of a policy; as far as it was got, if the ``budget`` is spent before."""
    cells: list[Cell] = []
    stopped, began = "", budget.used
    try:
        for cell in _survey(candidate, settings, asked, budget):
            cells.append(cell)
            progress(len(cells), asked.area.size, budget.used)
    except Spent as spent:
        stopped = str(spent)
    assumed = {
        (issuer.alias, name)
        for issuer in asked.area.issuers
        for circumstance in asked.circumstances
        for name in assume(issuer, circumstance)
    }
    return Matrix(
        candidate.revision,
        asked,
        tuple(cells),
        budget.used - began,
        stopped,
        tuple(sorted(assumed)),
    )


def _survey(
    candidate: Candidate, settings: Settings, asked: Asked, budget: Budget
) -> Iterator[Cell]:
    area = asked.area
    for client in area.clients:
        for issuer in area.issuers:
            probers = [
                open_prober(
                    candidate,
                    settings,
                    budget,
                    client=client,
                    token=suppose_subject(issuer, circumstance, settings, asked.subject),
                    circumstance=circumstance,
                    targets=area.targets,
                )
                for circumstance in asked.circumstances
            ]
            for target in area.targets:
                yield _look(client, target, issuer.alias, probers, asked)


def _look(
    client: str,
    target: Target,
    issuer: str,
    probers: Sequence[Prober | Reason],
    asked: Asked,
) -> Cell:
    found: dict[tuple[Any, ...], set[int]] = {}
    refusals: list[Deny | Failed] = []
    early = [one for one in probers if isinstance(one, Reason)]
    for number, prober in enumerate(probers):
        if isinstance(prober, Reason):
            continue
        barred = False
        for scope in sorted(target.scopes):
            before = len(refusals)
            found_here = list(_obtain(prober, target.name, scope, asked, refusals, barred=barred))
            barred = not found_here and all(
                one.reasons[0] is Reason.POLICY_TARGET_NOT_GRANTED for one in refusals[before:]
            )
            for purpose, way in found_here:
                key = (scope, way.holds, way.source, purpose, terms_of(way.permit))
                found.setdefault(key, set()).add(number)
    obtainable = tuple(
        Obtainable(
            scope=scope,
            holds=tuple(sorted(holds)),
            source=source,
            terms=terms,
            when=frozenset(when),
            purpose=purpose,
            depends=find_dependencies(asked.circumstances, frozenset(when)),
        )
        for (scope, holds, source, purpose, terms), when in found.items()
    )
    reasons = (*(one.reasons[0] for one in refusals), *early)
    return Cell(
        client,
        target.name,
        issuer,
        tuple(sorted(obtainable, key=_rank)),
        () if obtainable else tuple(dict.fromkeys(reasons)),
        tuple(dict.fromkeys(_faults(refusals)))[:_DEADLY],
    )


def _obtain(
    prober: Prober,
    target: str,
    scope: str,
    asked: Asked,
    refusals: list[Deny | Failed],
    *,
    barred: bool,
) -> Iterator[tuple[str | None, Way]]:
    vocabulary, scopes = asked.vocabulary, (scope,)
    # The same is not asked twice.
    decide = cache(partial(prober.ask, target, scopes))
    purposes = find_purposes(
        partial(decide, vocabulary.scopes), vocabulary.purposes, vocabulary.declared
    )
    for purpose in purposes:
        ways, refused = find_ways(_under(decide, purpose), scope, vocabulary, barred=barred)
        refusals += refused
        yield from ((purpose, way) for way in ways)


def _under(
    decide: Callable[[frozenset[str], str | None], Decision], purpose: str | None
) -> Callable[[frozenset[str]], Decision]:
    return lambda holds: decide(holds, purpose)


def _rank(one: Obtainable) -> tuple[Any, ...]:
    # What is held before what follows from something else.
    return one.scope, one.source is not None, len(one.holds), one.holds, one.purpose or ""


def _faults(refusals: Iterable[Deny | Failed]) -> Iterator[str]:
    for one in refusals:
        if isinstance(one, Failed):
            yield one.why
        else:
            verdict = verdict_of(one)
            if verdict.fault is not None:
                detail = f" ({verdict.detail})" if verdict.detail else ""
                yield f"{one.reasons[0].value}{detail}"


def _pick(kind: str, names: Sequence[str], there: dict[str, Any]) -> Iterator[Any]:
    for name in dict.fromkeys(names) if names else there:
        if name not in there:
            raise ConfigurationError(
                f"{name} is no {kind}; there are: {', '.join(sorted(there)) or 'none'}"
            )
        yield there[name]
