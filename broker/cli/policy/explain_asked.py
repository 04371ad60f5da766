"""What ``broker policy explain`` is asked about: a request in words, in a file, or by an id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from broker.cli.audit.source import Unclear
from broker.errors import ConfigurationError
from broker.settings import Settings
from broker.workbench.explain.case import Case, read_case
from broker.workbench.question import Question
from broker.workbench.recorded import NotReplayable
from broker.workbench.scenarios.document import Document, ScenarioFileError, load_document
from broker.workbench.scenarios.read import read_question, read_scenarios
from broker.workbench.scenarios.setting import load_setting
from broker.workbench.suppose import find_issuer

# What each option is called in a file, so that both are read by one rule.
_KEYS: Final = {
    "client": "--client",
    "target": "--target",
    "resource": "--resource",
    "asks": "--scope",
    "subject": "--subject",
    "holds": "--subject-scope",
    "claims": "--claim",
    "chain": "--chain",
    "depth": "--depth",
    "max_depth": "--max-depth",
    "exchanged": "--exchanged",
    "life": "--life",
    "actor": "--actor",
    "purpose": "--purpose",
    "at": "--at",
    "source": "--source",
}
_MAX_BYTES: Final = 1024 * 1024
_OPTIONS: Final = Path("options")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the parties that it is about, or a whole policy input."""

    question: Question | None = None
    settings: Settings | None = None
    case: Case | None = None


def ask_by_options(
    given: Mapping[str, Any], subject_issuer: str | None, settings: Settings
) -> Asked:
    """Return what the options ask. Raises ``Unclear``."""
    said = {name: value for name, value in given.items() if value not in (None, (), [], {})}
    if subject_issuer is not None:
        said["subject"] = _party(said.get("subject"), subject_issuer, settings)
    if "actor" in said:
        said["actor"] = {"subject": said["actor"]}
    try:
        return _question(Document(_OPTIONS, said, {}), settings)
    except ScenarioFileError as error:
        raise Unclear("; ".join(map(_as_option, str(error).splitlines()))) from None


def ask_by_file(path: Path, scenario: str | None, settings: Settings | None) -> Asked:
    """Return what a file asks: a policy input, one request, or one of its scenarios.

    ``settings`` are the parties of a request whose file names none. Raises ``Unclear``.
    """
    if path.suffix == ".json":
        return Asked(case=_read_input(path))
    try:
        document = load_document(path)
        content = document.content if isinstance(document.content, dict) else {}
        if "request" in content and "delegation" in content:
            return Asked(case=_read_case(path, content))
        if "scenarios" in content or "rows" in content:
            return _scenario(path, scenario or "")
        setting = content.pop("setting", None)
        if setting is not None or settings is None:
            settings = load_setting(document, setting)
        return _question(document, settings)
    except ScenarioFileError as error:
        raise Unclear(str(error)) from None


def parse_claims(written: Sequence[str]) -> dict[str, Any]:
    """Return claims written like ``acr=gold`` or ``groups=["a"]``. Raises ``Unclear``."""
    claims: dict[str, Any] = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise Unclear('--claim: write it like acr=gold, or groups=["staff"]')
        try:
            claims[name] = orjson.loads(value)
        except ValueError:
            claims[name] = value
    return claims


def parse_id(text: str) -> str | None:
    """Return an id of a row or a request in its one spelling; None: this is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _question(document: Document, settings: Settings) -> Asked:
    if isinstance(document.content, dict):
        document.content.setdefault("at", datetime.now(UTC).replace(microsecond=0))
    question = read_question(document, settings)
    return Asked(question=replace(question, id="supposed"), settings=settings)


def _scenario(path: Path, wanted: str) -> Asked:
    file = read_scenarios(path)
    found = [one for one in file.scenarios if wanted.casefold() in one.name.casefold()]
    if len(found) != 1:
        names = "\n".join(f"  {one.name}" for one in (found or file.scenarios)[:20])
        many = "several scenarios have" if found else "no scenario has"
        raise Unclear(f"--scenario: {many} that in the name; name one of\n{names}")
    question = found[0].steps[0].request.with_subject(found[0].subject)
    return Asked(question=question, settings=file.settings)


def _read_input(path: Path) -> Case:
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_BYTES:
            raise Unclear(f"{path}: is larger than {_MAX_BYTES >> 20} MiB")
        return _read_case(path, orjson.loads(raw))
    except OSError as error:
        raise Unclear(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise Unclear(f"{path}: is no JSON") from None


def _read_case(path: Path, document: object) -> Case:
    try:
        return read_case(document)
    except NotReplayable as error:
        raise Unclear(
            f"{path}: is no policy input, as policies/schemas/input.json describes it: {error}"
        ) from None


def _party(subject: object, issuer: str, settings: Settings) -> object:
    if not isinstance(subject, str):
        raise Unclear("--subject: is required with --subject-issuer")
    try:
        found = find_issuer(issuer, settings)
    except ConfigurationError as error:
        raise Unclear(f"--subject-issuer: {error}") from None
    return subject if found.issuer == settings.issuer else f"{found.alias}:{subject}"


def _as_option(line: str) -> str:
    # They have no file and no line.
    _, _, text = line.partition(": ")
    key, colon, said = text.partition(":")
    first, dot, rest = key.partition(".")
    return f"{_KEYS.get(first, first)}{dot}{rest}{colon}{said}"
