"""Reading ``broker.yaml``: strictly, with variables, and with all that is wrong said at once.

(1) YAML by the safe loader; a key written twice is an error, not the last one's win;
(2) a value that is ``${NAME}`` and nothing else becomes the variable's text, once; what is secret
    by its nature stands in the file in no other way;
(3) ``BROKER_A__B`` variables override the scalar ``a.b``, in lists by number;
(4) the models judge the result.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from broker.errors import ConfigurationError
from broker.settings.keys import find_model, is_scalar
from broker.settings.problems import Path as KeyPath
from broker.settings.problems import Problem, read_problems, render_path
from broker.settings.root import Settings

_PREFIX: Final = "BROKER_"
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}")
_ONLY_REFERENCED: Final = frozenset({"client_secret"})
_MAX_DEPTH: Final = 16  # levels; more is a mistake, or an alias inside itself


def load_settings(
    path: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    only: Collection[str] | None = None,
) -> Settings:
    """Return the settings of the file, overridden by the environment.

    Without a file, the environment says all. Relative paths are relative to the file's folder.
    ``only`` names the sections that are wanted: the others are as if they were not written, in
    the file or the environment, for whoever has no secrets and asks for none.

    Raises ``ConfigurationError``: one line for each problem, its key first. No line repeats a
    value that was read, for it may be a secret.
    """
    variables = os.environ if environ is None else environ
    problems: list[Problem] = []
    document = {} if path is None else _load_document(path, problems)
    if only is not None:
        variables = {name: text for name, text in variables.items() if _is_of(name, only)}
        if isinstance(document, dict):
            document = {key: value for key, value in document.items() if key in only}
    document = _interpolate(document, (), variables, problems)
    _override(document, variables, problems)
    context = {"folder": (path.parent if path else Path()).absolute()}
    try:
        settings = Settings.model_validate(document, context=context)
    except ValidationError as error:
        # A value that is missing because its variable is would only be named twice.
        known = {problem.path for problem in problems}
        problems += [p for p in read_problems(error, Settings) if p.path not in known]
    if problems:
        # The library's error holds the values that it refused, so it is no ``__cause__`` here.
        raise ConfigurationError("\n".join(map(str, problems))) from None
    return settings


class _Loader(yaml.SafeLoader):
    """The safe loader, for which ``${NAME}`` is one word also inside ``{…}`` and ``[…]``."""

    def scan_plain(self) -> Any:  # noqa: ANN401 — PyYAML's tokens have no annotations
        match = _REFERENCE.match(self.prefix(132))
        if match is None or self.peek(match.end()) not in "\0 \t\r\n,]}":
            return super().scan_plain()
        start = self.get_mark()
        self.forward(match.end())
        self.allow_simple_key = False
        return yaml.ScalarToken(match[0], True, start, self.get_mark())  # noqa: FBT003 — plain


def _load_document(path: Path, problems: list[Problem]) -> Any:  # noqa: ANN401 — YAML
    try:
        loader = _Loader(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError:
        raise ConfigurationError(f"{path}: is not YAML in UTF-8") from None
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        problems += _repeated_keys(node, ())
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        # Not ``str(error)``: it quotes the line, which may hold a secret.
        line = "" if error.problem_mark is None else f" line {error.problem_mark.line + 1},"
        raise ConfigurationError(f"{path}:{line} is not valid YAML ({error.problem})") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigurationError(f"{path}: is not valid YAML") from None
    finally:
        loader.dispose()


def _repeated_keys(node: yaml.Node, path: KeyPath) -> Iterator[Problem]:
    if len(path) > _MAX_DEPTH:
        yield Problem(path[:2], "is nested too deep")
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(item, (*path, index))
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if name in seen:
                line = key.start_mark.line + 1
                yield Problem((*path, name), f"is written twice (again in line {line}); remove one")
            seen.add(name)
            yield from _repeated_keys(value, (*path, name))


def _interpolate(
    value: Any,  # noqa: ANN401 — YAML
    path: KeyPath,
    variables: Mapping[str, str],
    problems: list[Problem],
) -> Any:  # noqa: ANN401 — YAML
    if len(path) > _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {
            key: _interpolate(item, (*path, str(key)), variables, problems)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _interpolate(item, (*path, index), variables, problems)
            for index, item in enumerate(value)
        ]
    if isinstance(value, str) and "${" in value:
        return _expand(value, path, variables, problems)
    if value is not None and not _ONLY_REFERENCED.isdisjoint(path[-1:]):
        problems.append(
            Problem(path, "write ${NAME}: the secret itself belongs in the environment, or a file")
        )
    return value


def _expand(
    text: str, path: KeyPath, variables: Mapping[str, str], problems: list[Problem]
) -> str | None:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        problems.append(Problem(path, "write ${NAME} as the whole value, or no ${ at all"))
    elif not variables.get(match[1]):
        problems.append(Problem(path, f"the environment variable {match[1]} is not set, or empty"))
    else:
        # Not looked at again: what a variable holds is a value, never a reference.
        return variables[match[1]]
    return None


def _override(document: Any, variables: Mapping[str, str], problems: list[Problem]) -> None:  # noqa: ANN401 — YAML
    for name in sorted(variables):
        if not name.startswith(_PREFIX):
            continue
        parts = name.removeprefix(_PREFIX).lower().split("__")
        # Other BROKER_… variables are somebody else's: BROKER_CONFIG, BROKER_OPA, and those that
        # Kubernetes makes for a service named broker. A ``__`` is only ever ours.
        if len(parts) == 1 and parts[0] not in Settings.model_fields:
            continue
        path = tuple(int(part) if part.isdigit() else part for part in parts)
        parent = find_model(Settings, path[:-1])
        field = None if parent is None else parent.model_fields.get(str(path[-1]))
        if field is None or not is_scalar(field):
            problems.append(Problem((name,), f"{render_path(path)} is no key with a single value"))
        elif not _put(document, path, variables[name]):
            problems.append(Problem((name,), f"{render_path(path)} has no such entry to override"))


def _is_of(variable: str, sections: Collection[str]) -> bool:
    """Whether a variable belongs to these sections, or is nobody's: what ``${NAME}`` may name."""
    if not variable.startswith(_PREFIX):
        return True
    return variable.removeprefix(_PREFIX).lower().partition("__")[0] in sections


def _put(document: Any, path: KeyPath, value: str) -> bool:  # noqa: ANN401 — YAML
    """Write the value where the path leads, making sections but no entries of lists."""
    place = document
    for part in path[:-1]:
        if isinstance(place, dict) and isinstance(part, str):
            place = place.setdefault(part, {})
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            place = place[part]
        else:
            return False
    if not isinstance(place, dict):
        return False
    place[path[-1]] = value
    return True
