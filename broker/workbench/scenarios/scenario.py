"""A scenario as it is asked: one question after another, each with what must come out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from broker.domain import Principal
from broker.errors import Reason
from broker.oauth import Mode, TokenType
from broker.settings import Settings
from broker.workbench.question import Question, SupposedToken


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come out. None: it is not compared."""

    granted: Mapping[str, str | None]  # scope, and what it is derived from; None: it is held
    refused: Reason | None = None
    narrowed: frozenset[str] | None = None
    lifetime: timedelta | None = None
    lifetime_at_most: timedelta | None = None
    max_depth: int | None = None
    mode: Mode | None = None
    chain: tuple[Principal, ...] | None = None
    purpose: str | None = None
    claims: frozenset[str] | None = None
    obligations: frozenset[str] | None = None
    reuse: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked with a token in hand."""

    client: str
    at: datetime
    audiences: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    purpose: str | None = None
    actor: SupposedToken | None = None
    source: str = "192.0.2.1"
    requested_token_type: TokenType = TokenType.ACCESS_TOKEN

    def with_subject(self, subject: SupposedToken) -> Question:
        """Return the question that this is with ``subject`` in hand."""
        return Question(
            client=self.client,
            subject=subject,
            at=self.at,
            audiences=self.audiences,
            resources=self.resources,
            scopes=self.scopes,
            purpose=self.purpose,
            actor=self.actor,
            requested_token_type=self.requested_token_type,
            source=self.source,
            id="scenario",
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One exchange of a scenario."""

    request: Request
    then: Expectation
    line: int  # of what must come out
    after: timedelta = timedelta()  # since the step before it


@dataclass(frozen=True, slots=True)
class Scenario:
    """One heading: a token, and what becomes of it."""

    name: str
    subject: SupposedToken
    steps: tuple[Step, ...]  # the second is asked with what came out of the first
    line: int


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """What one file holds."""

    path: Path
    title: str
    settings: Settings = field(repr=False)
    scenarios: tuple[Scenario, ...]
    about: str = ""


def asked_in_words(request: Request, subject: SupposedToken, settings: Settings) -> str:
    """Return a question as a sentence, for a heading that nobody wrote."""
    for_what = ", ".join((*request.audiences, *request.resources)) or "its default target"
    scopes = ", ".join(request.scopes) or "the defaults"
    holds = ", ".join(sorted(subject.scopes)) or "no scope"
    return (
        f"{request.client} asks {for_what} for {scopes}, for {_who(subject, settings)} with {holds}"
    )


def _who(subject: SupposedToken, settings: Settings) -> str:
    return party_in_words(Principal(subject.issuer, subject.subject), settings)


def party_in_words(principal: Principal, settings: Settings) -> str:
    """Return a party as scenario files write it."""
    if principal.issuer == settings.issuer:
        return principal.subject
    aliases: dict[str, Any] = {each.issuer: each.alias for each in settings.issuers}
    return f"{aliases.get(principal.issuer, principal.issuer)}:{principal.subject}"
