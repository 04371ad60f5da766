"""Reading scenario files: what is written becomes what is asked, or is said with file and line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from broker.domain import Principal
from broker.errors import ConfigurationError, Reason
from broker.oauth import Mode, TokenType
from broker.settings import Settings
from broker.settings.problems import Path as KeyPath
from broker.settings.problems import Problem, read_problems
from broker.workbench.question import Question, SupposedToken
from broker.workbench.scenarios.document import Document, ScenarioFileError, load_document
from broker.workbench.scenarios.scenario import (
    Expectation,
    Request,
    Scenario,
    ScenarioFile,
    Step,
    asked_in_words,
)
from broker.workbench.scenarios.setting import load_setting
from broker.workbench.scenarios.sheet import Given, Row, Sheet, Then, When
from broker.workbench.scenarios.sheet import Scenario as Written
from broker.workbench.suppose import find_client, find_issuer

SUFFIX: Final = ".scenarios.yaml"
_MAX_FILES: Final = 1000
_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:"  # noqa: S105 — a prefix of RFC 8693 §3
_Part = TypeVar("_Part", bound=BaseModel)


def find_scenario_files(places: Iterable[Path]) -> list[Path]:
    """Return the scenario files of these files and folders, each once, in order.

    Links are not followed into folders. Raises ``ScenarioFileError`` for a place that is not there.
    """
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            inside = sorted(place.rglob(f"*{SUFFIX}"))
            found |= dict.fromkeys(
                path for path in inside if path.is_file() and not _is_hidden(path, place)
            )
        elif place.is_file():
            found.setdefault(place)
        else:
            raise ScenarioFileError(f"{place}: there is no such file or folder")
    if len(found) > _MAX_FILES:
        raise ScenarioFileError(f"there are more than {_MAX_FILES} scenario files")
    return list(found)


def read_scenarios(path: Path) -> ScenarioFile:
    """Return what a file asks. Raises ``ScenarioFileError`` with everything that is wrong."""
    document = load_document(path)
    if not isinstance(document.content, dict):
        raise ScenarioFileError(f"{path}:1: write a mapping with title, setting and scenarios")
    try:
        sheet = Sheet.model_validate(document.content)
    except ValidationError as error:
        raise document.refusal(read_problems(error, Sheet)) from None
    if not (sheet.scenarios or sheet.rows):
        raise document.refusal([Problem((), "asks nothing; write scenarios or rows")])
    reader = _Reader(document, sheet, load_setting(document, sheet.setting))
    scenarios = reader.read()
    return ScenarioFile(path, sheet.title, reader.settings, scenarios, sheet.about)


def read_question(document: Document, settings: Settings) -> Question:
    """Return what is asked by the keys of one row, which says nothing of what must come out.

    Raises ``ScenarioFileError``.
    """
    if not isinstance(document.content, dict):
        raise document.refusal([Problem((), "write a mapping with client, subject and target")])
    # Nothing is compared with it, so any answer will do.
    written = {"then": {"refused": Reason.POLICY_DENIED.value}, **document.content}
    try:
        row = Row.model_validate(written)
    except ValidationError as error:
        raise document.refusal(read_problems(error, Row)) from None
    scenario = _Reader(document, Sheet(title="a question"), settings).read_row(row)
    return scenario.steps[0].request.with_subject(scenario.subject)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


class _Reader:
    """Reads the scenarios of one sheet, and gathers what is wrong with them."""

    def __init__(self, document: Document, sheet: Sheet, settings: Settings) -> None:
        self.settings = settings
        self._document = document
        self._sheet = sheet
        self._problems: list[Problem] = []

    def read(self) -> tuple[Scenario, ...]:
        written = [
            self._scenario(each, ("scenarios", place))
            for place, each in enumerate(self._sheet.scenarios)
        ]
        written += [self._row(each, ("rows", place)) for place, each in enumerate(self._sheet.rows)]
        if self._problems:
            raise self._document.refusal(self._problems)
        return tuple(each for each in written if each is not None)

    def read_row(self, row: Row) -> Scenario:
        scenario = self._row(row, ())
        if scenario is None or self._problems:
            raise self._document.refusal(self._problems)
        return scenario

    def _scenario(self, written: Written, path: KeyPath) -> Scenario | None:
        defaults = self._sheet.defaults
        given = _over(defaults.given, written.given)
        first = _over(defaults.when, written.when)
        subject = self._subject(given, (*path, "given"))
        steps = [self._step(first, written.then, path)]
        for place, each in enumerate(written.onward):
            # Nothing of the first request is meant again but when and where it was sent.
            if "at" in each.when.model_fields_set:
                text = "is the time of the step before, and after; remove it, or write after"
                self._problems.append(Problem((*path, "onward", place, "when", "at"), text))
            onward = _over(When(at=first.at, source=first.source), each.when)
            step = self._step(onward, each.then, (*path, "onward", place))
            steps.append(
                None if step is None else Step(step.request, step.then, step.line, each.after)
            )
        if subject is None or None in steps:
            return None
        whole = tuple(step for step in steps if step is not None)
        return Scenario(written.name, subject, whole, self._document.line(path))

    def _row(self, row: Row, path: KeyPath) -> Scenario | None:
        defaults = self._sheet.defaults
        given = _over(defaults.given, _part(Given, row))
        when = _over(defaults.when, _part(When, row))
        subject = self._subject(given, path)
        step = self._step(when, row.then, path)
        if subject is None or step is None:
            return None
        name = row.name or asked_in_words(step.request, subject, self.settings)
        return Scenario(name, subject, (step,), self._document.line(path))

    def _subject(self, given: Given, at: KeyPath) -> SupposedToken | None:
        if given.subject is None:
            self._problems.append(
                Problem((*at, "subject"), "is required, here or in defaults.given")
            )
            return None
        return self._token(given, at)

    def _step(self, when: When, then: Then, path: KeyPath) -> Step | None:
        if when.client is None:
            text = "is required: who asks, here or in defaults.when"
            self._problems.append(Problem((*path, "client"), text))
            return None
        self._check(lambda: find_client(when.client or "", self.settings), (*path, "client"))
        actor = None
        if when.actor is not None:
            actor = self._actor(when.actor, when.client, (*path, "actor"))
        request = Request(
            client=when.client,
            at=when.at,
            audiences=when.target,
            resources=when.resource,
            scopes=when.asks,
            purpose=when.purpose,
            actor=actor,
            source=when.source,
            requested_token_type=TokenType(f"{_TOKEN_TYPE}{when.wants}"),
        )
        expected = self._expectation(then, request, (*path, "then"))
        return Step(request, expected, self._document.line((*path, "then")))

    def _actor(self, given: Given, client: str, at: KeyPath) -> SupposedToken | None:
        """Return an actor token: unless it says otherwise the client's own, for this broker."""
        if given.subject is None:
            self._problems.append(Problem((*at, "subject"), "is required"))
            return None
        usual = {"issued_to": client, "audience": (self.settings.issuer,)}
        own = {name: value for name, value in usual.items() if name not in given.model_fields_set}
        return self._token(given.model_copy(update=own), at)

    def _token(self, given: Given, at: KeyPath) -> SupposedToken | None:
        party = self._party(given.subject or "", (*at, "subject"))
        chain = self._parties(given.chain, (*at, "chain"))
        may_act = None
        if given.may_act is not None:
            may_act = self._party(given.may_act, (*at, "may_act"))
        if party is None or chain is None:
            return None
        return SupposedToken(
            issuer=party.issuer,
            subject=party.subject,
            scopes=frozenset(given.holds),
            client_id=given.issued_to,
            token_type=TokenType(f"{_TOKEN_TYPE}{given.type}"),
            audiences=given.audience,
            chain=chain,
            may_act=may_act,
            depth=len(chain) if given.depth is None else given.depth,
            max_depth=given.max_depth,
            exchanged=given.exchanged,
            age=given.age,
            life=given.life,
            claims=given.claims,
        )

    def _expectation(self, then: Then, request: Request, at: KeyPath) -> Expectation:
        granted: dict[str, str | None] = {}
        for item in then.granted:
            scope, _, source = item.partition(" from ")
            granted[scope.strip()] = source.strip() or None
        narrowed = None if then.narrowed is None else frozenset(then.narrowed)
        if not granted and then.refused is None:
            granted = {
                scope: None for scope in request.scopes if scope not in (narrowed or frozenset())
            }
            if not granted:
                self._problems.append(
                    Problem(at, "say what is granted: nothing is asked for by name")
                )
        chain = None if then.chain is None else self._parties(then.chain, (*at, "chain"))
        return Expectation(
            granted=granted,
            refused=None if then.refused is None else Reason(then.refused),
            narrowed=narrowed,
            lifetime=then.lifetime,
            lifetime_at_most=then.lifetime_at_most,
            max_depth=then.max_depth,
            mode=None if then.mode is None else Mode(then.mode),
            chain=chain,
            purpose=then.purpose,
            claims=None if then.claims is None else frozenset(then.claims),
            obligations=None if then.obligations is None else frozenset(then.obligations),
            reuse=then.reuse,
        )

    def _parties(self, written: Iterable[str], at: KeyPath) -> tuple[Principal, ...] | None:
        found = [self._party(each, at) for each in written]
        return None if None in found else tuple(each for each in found if each is not None)

    def _party(self, written: str, at: KeyPath) -> Principal | None:
        """Return ``idp:alice`` as alice of that issuer, and ``checkout`` as that client of ours."""
        alias, colon, subject = written.partition(":")
        if not colon:
            self._check(lambda: find_client(written, self.settings), at)
            return Principal(self.settings.issuer, written)
        if not subject:
            self._problems.append(Problem(at, "write an alias, a colon and a subject"))
            return None
        issuer = self._check(lambda: find_issuer(alias, self.settings).issuer, at)
        return None if issuer is None else Principal(issuer, subject)

    def _check(self, find: Any, at: KeyPath) -> Any:  # noqa: ANN401 — whatever it finds
        try:
            return find()
        except ConfigurationError as error:
            self._problems.append(Problem(at, str(error)))
            return None


def _over(defaults: _Part, own: _Part) -> _Part:
    """Return ``own`` with what it does not say taken from ``defaults``."""
    return defaults.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def _part(model: type[_Part], row: Row) -> _Part:
    """Return the part of a row that is a ``Given`` or a ``When``, with only what it says."""
    said = {name: getattr(row, name) for name in row.model_fields_set if name in model.model_fields}
    return model.model_construct(_fields_set=set(said), **said)
