"""The rules of a policy as they are written, and what became of each in one evaluation."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml

_PACKAGE: Final = re.compile(r"^\s*package\s+(?:data\.)?([^\s#]+)", re.MULTILINE)
_NAME: Final = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(\(?)")
_METADATA: Final = "# METADATA"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written."""

    file: str  # from the policy folder
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class State(StrEnum):
    """What became of a rule."""

    HELD = "held"  # at least once, for one of the values that it was tried with
    FAILED = "failed"
    UNTRIED = "untried"  # nothing in it was looked at: it was not asked, or could not hold


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a head with its body. A name may have several."""

    package: str
    name: str
    place: Place
    state: State
    function: bool = False
    description: str = ""  # of its METADATA, on one line
    code: str | None = None  # likewise
    stopped: Place | None = None  # of one that failed: the last line that was looked at
    stopped_text: str = ""

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        rendered: dict[str, Any] = {
            "package": self.package,
            "name": self.name,
            "place": str(self.place),
            "state": self.state.value,
        }
        if self.description:
            rendered["description"] = self.description
        if self.stopped is not None:
            rendered["stopped"] = {"place": str(self.stopped), "text": self.stopped_text}
        return rendered


Position = tuple[int, int]  # row and column, from 1


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file that coverage speaks of."""

    begin: Position
    end: Position
    covered: bool


def read_rules(file: str, text: str, spans: Sequence[Span]) -> Iterator[Rule]:
    """Yield the rules of a file, by what ``opa eval --coverage`` said of it.

    A head counts as covered once its body held; whatever stands in a body, once it was looked at.
    Rules that do not begin in the first column, where ``opa fmt`` puts them, are passed over.
    """
    package = _PACKAGE.search(text)
    if package is None:
        return
    lines = text.splitlines()
    ordered = sorted(spans, key=lambda span: (span.begin, span.end))
    heads = [span for span in ordered if span.begin[1] == 1 and span.begin[0] <= len(lines)]
    for number, head in enumerate(heads):
        if lines[head.begin[0] - 1].startswith("default "):
            continue
        until = heads[number + 1].begin if number + 1 < len(heads) else (len(lines) + 1, 1)
        body = [each for each in ordered if head.begin < each.begin < until]
        yield _rule(file, package[1], lines, head, body)


def _rule(file: str, package: str, lines: Sequence[str], head: Span, body: Sequence[Span]) -> Rule:
    row = head.begin[0]
    name = _NAME.match(lines[row - 1])
    metadata = _metadata(lines, row)
    looked_at = [span for span in body if span.covered]
    state = State.HELD if head.covered else State.FAILED if looked_at else State.UNTRIED
    stopped = None
    if state is State.FAILED:
        stopped = Place(file, max(span.begin[0] for span in looked_at))
    return Rule(
        package=package,
        name="?" if name is None else name[1],
        function=name is not None and name[2] == "(",
        place=Place(file, row),
        state=state,
        description=" ".join(str(metadata.get("description", "")).split()),
        code=_code(metadata),
        stopped=stopped,
        stopped_text="" if stopped is None else lines[stopped.line - 1].strip(),
    )


def _metadata(lines: Sequence[str], row: int) -> Mapping[str, Any]:
    """Return the METADATA that stands above a head; nothing if there is none that can be read."""
    above: list[str] = []
    for line in reversed(lines[: row - 1]):
        if not line.startswith("#"):
            return {}
        if line.rstrip() == _METADATA:
            break
        above.append(line[1:].removeprefix(" "))
    else:
        return {}
    try:
        found = yaml.safe_load("\n".join(reversed(above)))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _code(metadata: Mapping[str, Any]) -> str | None:
    custom = metadata.get("custom")
    code = custom.get("code") if isinstance(custom, dict) else None
    return code if isinstance(code, str) else None
