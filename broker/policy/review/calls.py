"""What rules of one's own call the library with: a name that nobody gave is never met.

Rego is read here by its text: only ``name.function("literal")`` of an imported rule of the library
is seen, which is how they are meant to be called.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from broker.policy.review.flaw import Flaw, fault
from broker.policy.snapshot import Snapshot
from broker.settings import Settings

_IMPORT: Final = re.compile(
    r"^\s*import\s+data\.broker\.library\.(\w+)(?:\s+as\s+(\w+))?", re.MULTILINE
)
_CALL: Final = re.compile(r"\b(\w+)\.(\w+)\(\s*\"([^\"\\]*)\"\s*\)")
_ASKS: Final = "asks"


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


def _known(settings: Settings | None) -> Mapping[str, set[str]]:
    if settings is None:
        return {}
    return {
        "client": {each.id for each in settings.clients},
        "target": {each.name for each in settings.targets},
        "scope": {scope for each in settings.targets for scope in each.scopes},
    }
