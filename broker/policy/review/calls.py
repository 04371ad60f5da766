"""What rules of one's own call the library with: a name that nobody gave is never met.

Rego is read here by its text: only ``name.function("literal")`` of an imported rule of the library
is seen, which is how they are meant to be called.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from broker.domain import Obligation
from broker.policy.decision import POLICY_REASONS
from broker.policy.review.flaw import Flaw, doubt, fault
from broker.policy.snapshot import Snapshot
from broker.settings import Settings

_IMPORT: Final = re.compile(
    r"^\s*import\s+data\.broker\.library\.(\w+)(?:\s+as\s+(\w+))?", re.MULTILINE
)
_CALL: Final = re.compile(r"\b(\w+)\.(\w+)\(\s*\"([^\"\\]*)\"\s*\)")
_ASKS: Final = "asks"
_OWN: Final = "broker/rules/"
_CODE: Final = re.compile(r"^#\s+code:\s*(\S+)\s*$|^deny contains \"([^\"]*)\"")
_NO_SET: Final = re.compile(r"^(?:deny|oblige)\b(?!\s+contains\b)")
_OBLIGE: Final = re.compile(r"^oblige contains \"([^\"]*)\"")


def review_calls(
    snapshot: Snapshot, parameters: object, settings: Settings | None, folder: Path
) -> Iterator[Flaw]:
    """Yield the calls that can never hold; of what is asked for, only with settings."""
    given = parameters if isinstance(parameters, Mapping) else {}
    known = _known(settings)
    for name, text in snapshot.items():
        if not name.endswith(".rego") or name.startswith("broker/library/"):
            continue
        for line, rule, function, literal in _calls(text.decode(errors="replace")):
            place, subject = f"{folder / name}:{line}", f"{rule}.{function}"
            if rule == _ASKS:
                if literal not in known.get(function, {literal}):
                    yield fault(
                        place,
                        subject,
                        f"{literal} is no {function} of the configuration, so the rule never"
                        " concerns anybody",
                        f"write a {function} that is configured",
                    )
            elif literal not in (given.get(rule) or {}):
                yield fault(
                    place,
                    subject,
                    f"no parameters of {rule} are called {literal}, so it never holds",
                    f"add {literal} below {rule} in broker/parameters/data.yaml",
                )


def _calls(text: str) -> Iterator[tuple[int, str, str, str]]:
    imported = {alias or rule: rule for rule, alias in _IMPORT.findall(text)}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#"):
            for alias, function, literal in _CALL.findall(line):
                if alias in imported:
                    yield number, imported[alias], function, literal


def review_codes(snapshot: Snapshot, folder: Path) -> Iterator[Flaw]:
    """Yield what rules of one's own say that nobody understands, where it is written out."""
    for name, text in snapshot.items():
        if not name.startswith(_OWN) or not name.endswith(".rego"):
            continue
        for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
            code, obligation = _CODE.match(line), _OBLIGE.match(line)
            said = code and (code[1] or code[2])
            if said and said not in POLICY_REASONS:
                yield fault(
                    f"{folder / name}:{number}",
                    said,
                    "is no reason that a policy can give, so the refusal is no decision",
                    "write policy.denied, which is the one for rules of your own",
                )
            if _NO_SET.match(line):
                yield doubt(
                    f"{folder / name}:{number}",
                    line.split()[0].rstrip(":="),
                    "is no set, so whatever it says refuses, and gives no reason",
                    'write deny contains "policy.denied" if …, or oblige contains "alert" if …',
                )
            if obligation and obligation[1] not in set(Obligation):
                yield fault(
                    f"{folder / name}:{number}",
                    obligation[1],
                    "is nothing that the broker can be obliged to, so the token is refused",
                    f"write {' or '.join(Obligation)}",
                )


def _known(settings: Settings | None) -> Mapping[str, set[str]]:
    if settings is None:
        return {}
    return {
        "client": {each.id for each in settings.clients},
        "target": {each.name for each in settings.targets},
        "scope": {scope for each in settings.targets for scope in each.scopes},
    }
