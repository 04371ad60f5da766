"""Who there is in a scenario file: of a ``broker.yaml``, or written in the file itself.

Of a configuration only the parties are read, so no secret, key or database is needed to ask what
a policy would do. Parties that are written in the file get what scenarios do not depend on.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from broker.errors import ConfigurationError
from broker.settings import Settings, load_settings
from broker.settings.problems import Problem, read_problems
from broker.workbench.scenarios.document import Document

PARTIES: Final = frozenset(
    {"issuer", "issuers", "clients", "targets", "max_delegation_depth", "max_targets"}
)
_CONFIGURATION: Final = "broker.yaml"
_KEY: Final = ("setting",)
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}")
_NO_SECRET: Final = f"sha256:{'0' * 64}"


def load_setting(document: Document, written: object) -> Settings:
    """Return the parties of a file. Raises ``ScenarioFileError``."""
    if written is None:
        return _load(document, _find_configuration(document))
    if isinstance(written, str):
        return _load(document, document.path.parent / written)
    if isinstance(written, Mapping):
        return _build(document, written)
    raise document.refusal([Problem(_KEY, "write the path of a broker.yaml, or who there is")])


def _find_configuration(document: Document) -> Path:
    for folder in document.path.absolute().parents[:4]:
        if (folder / _CONFIGURATION).is_file():
            return folder / _CONFIGURATION
    text = "is required: there is no broker.yaml beside this file or above it"
    raise document.refusal([Problem(_KEY, text)])


def _load(document: Document, path: Path) -> Settings:
    try:
        return load_settings(path, _environment(path), only=PARTIES)
    except ConfigurationError as error:
        first, *rest = str(error).splitlines()
        text = f"{path}: {first}" + (f" (and {len(rest)} more)" if rest else "")
        raise document.refusal([Problem(_KEY, text)]) from None


def _environment(path: Path) -> dict[str, str]:
    """Return the environment, with a digest in the place of each secret that is not set.

    No scenario depends on one, and whoever reviews a policy has none.
    """
    try:
        named = _REFERENCE.findall(path.read_text("utf-8", errors="replace"))
    except OSError:
        named = []  # it is said by who loads the file
    return dict.fromkeys(named, _NO_SECRET) | {
        name: text for name, text in os.environ.items() if text
    }


def _build(document: Document, written: Mapping[str, Any]) -> Settings:
    unknown = [
        Problem(
            (*_KEY, name), f"is not a known key; the keys here are {', '.join(sorted(PARTIES))}"
        )
        for name in written
        if name not in PARTIES
    ]
    if unknown:
        raise document.refusal(unknown)
    whole = {
        "issuer": "https://broker.example",
        **written,
        "issuers": list(_issuers(written.get("issuers"))),
        "clients": list(_clients(written.get("clients"))),
        "targets": list(_targets(written.get("targets"))),
    }
    try:
        return Settings.model_validate(whole)
    except ValidationError as error:
        problems = [
            Problem((*_KEY, *_written_path(each.path, written)), each.text)
            for each in read_problems(error, Settings)
        ]
        raise document.refusal(problems) from None


def _issuers(written: object) -> Iterator[dict[str, Any]]:
    for alias, keys in _named(written, "alias"):
        usual = {
            "issuer": f"https://{alias}.example",
            "algorithms": ["ES256"],
            "token_types": ["access_token", "jwt", "id_token"],
        }
        place = {"jwks", "jwks_file", "jwks_uri", "discovery"} & keys.keys()
        yield usual | ({} if place else {"discovery": True}) | keys


def _clients(written: object) -> Iterator[dict[str, Any]]:
    for name, keys in _named(written, "id"):
        proof = {"auth", "secrets"} & keys.keys()
        usual = {"auth": "private_key_jwt", "jwks_uri": f"https://{name}.example/jwks"}
        yield ({} if proof else usual) | keys


def _targets(written: object) -> Iterator[dict[str, Any]]:
    for _, keys in _named(written, "name"):
        yield keys


def _named(written: object, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each party: of a list as in broker.yaml, of names alone, or of a mapping by name.

    A target may be its scopes alone.
    """
    if isinstance(written, Mapping):
        for name, keys in written.items():
            if isinstance(keys, list | str):
                scopes = keys.split() if isinstance(keys, str) else keys
                yield str(name), {key: name, "scopes": scopes}
            else:
                yield str(name), {key: name} | (keys if isinstance(keys, dict) else {})
    elif isinstance(written, list):
        for each in written:
            if isinstance(each, dict):
                yield str(each.get(key)), each
            else:
                yield str(each), {key: each}


def _written_path(path: tuple[str | int, ...], written: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Return where in the file that is which the settings know by its place in a list."""
    if (
        len(path) > 1
        and isinstance(path[1], int)
        and isinstance(written.get(str(path[0])), Mapping)
    ):
        return (path[0], list(written[str(path[0])])[path[1]], *path[2:])
    return path
