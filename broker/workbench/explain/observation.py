"""What ``opa eval`` says of an input: the decision, the documents of its packages, its rules.

Not on the way of any exchange, and not what counts: whoever explains compares its decision with
that of the engine.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from broker.errors import ConfigurationError
from broker.policy.compiler import explain, run_opa
from broker.policy.snapshot import Snapshot, write_snapshot
from broker.workbench.explain.rule import Rule, Span, read_rules

_DECISION: Final = "data.broker.exchange.decision"
_DOCUMENTS: Final = (
    '{"exchange": data.broker.exchange, "own": {name: found | found := data.broker.rules[name]}}'
)
_DEADLINE: Final = 10.0  # seconds; a decision takes a twentieth of one, and most of it is starting
_AT_ONCE: Final = 400  # cases of one run


@dataclass(frozen=True, slots=True)
class Observation:
    """One evaluation, seen from within."""

    decision: Any  # None: undefined
    error: str = ""  # why there is none
    exchange: Mapping[str, Any] = field(default_factory=dict)  # documents of broker.exchange
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of broker.rules, by name
    rules: tuple[Rule, ...] = ()  # of every package that was looked into, in order of file and line


@dataclass(frozen=True, slots=True)
class Supposition:
    """An input that was changed, and beside it perhaps grants and rules of one's own."""

    input: Mapping[str, Any]
    grants: Mapping[str, Any] | None = None  # of the input's client, by target; None: as they are
    without: frozenset[str] = frozenset()  # packages of broker.rules that deny nothing then


class Observer:
    """A policy folder of one moment, for ``opa eval``."""

    def __init__(self, opa: Path, snapshot: Snapshot, shown: Path, root: Path) -> None:
        """``root`` has the files of the snapshot; ``shown`` is what errors call it."""
        self._opa = opa
        self._snapshot = snapshot
        self._shown = shown
        self._root = root

    def observe(self, input: Mapping[str, Any]) -> Observation:  # noqa: A002 — the word of OPA
        """Return what the policy does with an input; what it fails by is an answer as well."""
        try:
            decided = self._run(input, _DECISION, "--coverage")
        except ConfigurationError as error:  # it ended none too soon: it had no end
            return Observation(None, error=str(error))
        if "errors" in decided:
            return Observation(None, error=self._error(decided))
        # Of packages that nothing depends on some may fail; then the decision is all there is.
        documents = _mapping(_value(self._run(input, _DOCUMENTS)))
        files = _mapping(_mapping(decided.get("coverage")).get("files"))
        return Observation(
            decision=_value(decided),
            exchange=_mapping(documents.get("exchange")),
            own={name: _mapping(each) for name, each in _mapping(documents.get("own")).items()},
            rules=tuple(self._rules(files)),
        )

    def suppose(self, client: str, cases: Sequence[Supposition]) -> list[Any]:
        """Return the decision on each case; None where it is undefined, or fails.

        Raises ``ConfigurationError``.
        """
        decisions: list[Any] = [None] * len(cases)
        kinds: dict[tuple[bool, tuple[str, ...]], list[int]] = {}
        for number, case in enumerate(cases):
            kind = (case.grants is not None, tuple(sorted(case.without)))
            kinds.setdefault(kind, []).append(number)
        for (granting, without), numbers in kinds.items():
            query = _suppositions(client if granting else None, without)
            for start in range(0, len(numbers), _AT_ONCE):
                some = numbers[start : start + _AT_ONCE]
                asked = [
                    {"input": cases[each].input, "grants": cases[each].grants} for each in some
                ]
                found = _mapping(_value(self._run({"cases": asked}, query)))
                for place, number in enumerate(some):
                    decisions[number] = found.get(str(place))
        return decisions

    def _run(self, input: Mapping[str, Any], query: str, *options: str) -> dict[str, Any]:  # noqa: A002 — the word of OPA
        # Beside the root and not in it, where it would be data.
        with tempfile.NamedTemporaryFile("w", dir=self._root.parent, suffix=".json") as file:
            json.dump(input, file)
            file.flush()
            ended = run_opa(
                self._opa,
                [
                    *("eval", "--format", "json", "--ignore", "*_test.rego", "-b", "."),
                    *("--input", file.name, *options, query),
                ],
                folder=self._root,
                deadline=_DEADLINE,
            )
        try:
            found = json.loads(ended.stdout)
        except ValueError:
            text = explain(ended.stderr or ended.stdout, self._shown)
            raise ConfigurationError(f"policy.path: it cannot be evaluated\n{text}") from None
        return found if isinstance(found, dict) else {}

    def _rules(self, files: Mapping[str, Any]) -> Iterator[Rule]:
        for name, file in sorted(files.items()):
            path = name.removeprefix("./")
            covered = [*_spans(file, "covered", covered=True)]
            if path in self._snapshot and covered:
                spans = [*covered, *_spans(file, "not_covered", covered=False)]
                yield from read_rules(path, self._snapshot[path].decode(errors="replace"), spans)

    def _error(self, answer: Mapping[str, Any]) -> str:
        said = []
        for each in answer["errors"]:
            location = _mapping(each.get("location"))
            place = f"{location.get('file', '')}:{location.get('row', '')}: " if location else ""
            said.append(f"{place}{each.get('message', 'error')}")
        return explain("\n".join(said), self._shown).strip()


@contextmanager
def open_observer(opa: Path, snapshot: Snapshot, shown: Path) -> Iterator[Observer]:
    """Open a policy for ``opa eval``; ``shown`` is the folder as errors call it."""
    with tempfile.TemporaryDirectory(prefix="broker-explain-") as name:
        root = Path(name, "root")
        write_snapshot(snapshot, root)
        yield Observer(opa, snapshot, shown, root)


def _suppositions(client: str | None, without: Sequence[str]) -> str:
    # Names come into the query as JSON, which is how Rego writes a text. `with` takes variables:
    # of `one.input` it would be the reference that is put in place, not what that refers to.
    changes = ["input as asked"]
    if client is not None:
        changes.append(f"data.broker.grants[{json.dumps(client)}] as granted")
    changes += [f"data.broker.rules[{json.dumps(name)}].deny as set()" for name in without]
    decided = " ".join([_DECISION, *(f"with {each}" for each in changes)])
    return (
        "{number: decision | some number, one in input.cases; asked := one.input;"
        f" granted := one.grants; decision := {decided}}}"
    )


def _spans(file: Mapping[str, Any], member: str, *, covered: bool) -> Iterator[Span]:
    for span in file.get(member) or ():
        begin, end = span["start"], span["end"]
        yield Span(
            (begin["row"], begin.get("col", 1)), (end["row"], end.get("col", 1)), covered=covered
        )


def _value(answer: Mapping[str, Any]) -> Any:  # noqa: ANN401 — a document of the policy's
    results = answer.get("result") or []
    return results[0]["expressions"][0]["value"] if results else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
