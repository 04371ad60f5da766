"""Writing a policy folder: whole or not at all, and never over what is there.

(1) A new folder is made beside its place and then renamed: whoever is interrupted has none.
(2) A rule is added by new files alone, and by its parameters, below the ones that there are; the
    comments of that file stay. What could not be added so is refused, and nothing is written.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from broker.errors import ConfigurationError
from broker.policy.scaffold.template import TEMPLATES, build_parameters, render_rule
from broker.policy.stock import find_stock

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PARAMETERS: Final = "broker/parameters/data.yaml"
_BUNDLE: Final = "broker/exchange/decision.rego"
_README: Final = Path(__file__).parent / "README.md"


def is_bundle(folder: Path) -> bool:
    """Whether rules can be added to the folder: there is a decision that asks them."""
    return (folder / _BUNDLE).is_file()


def create_folder(folder: Path, rules: Iterable[str], target: str) -> list[Path]:
    """Write a copy of the stock policy, with these rules, and return what is in it.

    Raises ``ConfigurationError`` if there is something at its place already.
    """
    if folder.is_symlink() or (folder.exists() and not _is_empty(folder)):
        raise ConfigurationError(
            f"{folder}: is there already, and nothing is written over; name another folder, or"
            " add a rule to it with --with"
        )
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=parent) as name:
            made = Path(name, "policies")
            shutil.copytree(find_stock(), made, symlinks=True, ignore=_ignored)
            shutil.copyfile(_README, made / "README.md")
            add_rules(made, rules, target)
            # Fails where something was put there meanwhile; an empty folder gives way.
            os.rename(made, folder)  # noqa: PTH104 — Path.rename says the same
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be written ({error.strerror})") from error
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def add_rules(folder: Path, rules: Iterable[str], target: str) -> list[Path]:
    """Add rules of the library as packages of one's own, and return the files that were written.

    Raises ``ConfigurationError`` before anything is, if one of them is there.
    """
    if not _NAME.fullmatch(target):
        raise ConfigurationError(
            "--target: write the name of a target in small letters, digits, - and _"
        )
    wanted = list(dict.fromkeys(rules))
    for rule in wanted:
        if rule not in TEMPLATES:
            raise ConfigurationError(f"--with: write one of {', '.join(TEMPLATES)}")
    parameters = folder / _PARAMETERS
    before = parameters.read_text(encoding="utf-8") if parameters.exists() else _head()
    text = before
    files: dict[str, str] = {}
    for rule in wanted:
        files |= _files(rule, target)
        text = _with_parameters(text, build_parameters(rule, target), parameters)
    for name in files:
        if (folder / name).exists():
            raise ConfigurationError(
                f"{folder / name}: is there already, and nothing is written over"
            )
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    if text != before:
        parameters.parent.mkdir(parents=True, exist_ok=True)
        _replace(parameters, text)
        return [*map(Path, files), Path(_PARAMETERS)]
    return [*map(Path, files)]


def _files(rule: str, target: str) -> dict[str, str]:
    package = f"{target}_{rule}".replace("-", "_")
    text, tests = render_rule(rule, package, target)
    place = f"broker/rules/{package}/{package}"
    return {f"{place}.rego": text, f"{place}_test.rego": tests}


def _with_parameters(text: str, added: Mapping[str, Any], file: Path) -> str:
    """Return the file with these parameters in it, and all else of it as it was."""
    before = _read(text, file)
    expected = _merged(before, added, file)
    for rule, rows in added.items():
        missing = {name: row for name, row in rows.items() if name not in before.get(rule, {})}
        if missing:
            text = _insert(text, rule, missing, known=rule in before)
    if _read(text, file) != expected:
        raise ConfigurationError(
            f"{file}: is not written so that this can be added to it; add it by hand\n"
            + dump(added)
        )
    return text


def _merged(before: Mapping[str, Any], added: Mapping[str, Any], file: Path) -> dict[str, Any]:
    merged = dict(before)
    for rule, rows in added.items():
        there = merged.get(rule, {})
        for name, row in rows.items():
            if there.get(name, row) != row:
                raise ConfigurationError(f"{file}: has other parameters {rule}.{name} already")
        merged[rule] = {**there, **rows}
    return merged


def _insert(text: str, rule: str, rows: Mapping[str, Any], *, known: bool) -> str:
    block = dump(rows)
    lines = [f"  {line}\n" for line in block.splitlines()]
    if not known:
        return text.rstrip("\n") + f"\n\n{rule}:\n" + "".join(lines)
    head = re.compile(rf"^{rule}:[ \t]*\n", re.MULTILINE)
    return head.sub(lambda match: match[0] + "".join(lines), text, count=1)


class _Dumper(yaml.SafeDumper):
    """Writes a text with a colon in quotes: 18:00 without them is a number to some readers."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 — PyYAML's own
        """Set lists below their key apart from it."""
        super().increase_indent(flow=flow, indentless=False)


def _quote(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, '"' if ":" in text else None)


_Dumper.add_representer(str, _quote)


def dump(rows: Mapping[str, Any]) -> str:
    """Return parameters as they are written into the file."""
    return yaml.dump(
        dict(rows), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=1000
    )


def _read(text: str, file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: is no YAML; `broker policy check` says why") from error
    if not isinstance(found, dict) or not all(isinstance(row, dict) for row in found.values()):
        raise ConfigurationError(f"{file}: is no mapping of rules to names to parameters")
    return found


def _head() -> str:
    return (find_stock() / _PARAMETERS).read_text(encoding="utf-8")


def _replace(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".", delete=False
    ) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None


def _ignored(_: str, names: list[str]) -> Iterator[str]:
    return (name for name in names if name.startswith(".") and name != ".manifest")
