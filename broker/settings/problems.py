"""What is wrong with a configuration, said so that it can be mended: key, then what to write.

A problem never repeats the value that was written, because it may be a secret.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from broker.settings.keys import find_model

Path = tuple[str | int, ...]

_RULES: Final = "rules"
_TEXTS: Final = {
    "missing": "is required",
    "string_type": "write text; put it in quotes if YAML reads it as something else",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "finite_number": "write a number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "tuple_type": "write a list, like [a, b]",
    "frozen_set_type": "write a list, like [a, b]",
    "dict_type": "write a mapping of keys to values",
    "model_type": "write a mapping of keys to values",
    "model_attributes_type": "write a mapping of keys to values",
    "path_type": "write a path",
    "too_short": "write at least one",
    "string_too_short": "write at least one character",
}


class Problem(NamedTuple):
    """One thing to mend, and the key where it is."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"{render_path(self.path)}: {self.text}"


def render_path(path: Path) -> str:
    """Return ``("issuers", 0, "jwks_uri")`` as ``issuers[0].jwks_uri``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "configuration"


def refuse(problems: Iterable[Problem]) -> None:
    """Raise all of these as one error of the model being validated; none is fine.

    Pydantic lets a validator raise once, and people want to mend everything in one go.
    """
    found = tuple(problems)
    if found:
        text = "; ".join(map(str, found))
        raise PydanticCustomError(_RULES, "{text}", {"text": text, "problems": found})


def read_problems(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield the problems of a validation of ``model``, in the order of the keys."""
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(detail["loc"])
        if detail["type"] == _RULES:
            for problem in detail["ctx"]["problems"]:
                yield Problem((*path, *problem.path), problem.text)
        elif detail["type"] == "extra_forbidden":
            yield Problem(path, _unknown_key(path, model))
        else:
            yield Problem(path, _text(detail))


def _text(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "value_error":
        return str(context["error"])
    if kind in {"literal_error", "enum"}:
        return f"write {context['expected']}".replace("'", "")
    if kind == "greater_than_equal":
        return f"write at least {context['ge']}"
    if kind == "less_than_equal":
        return f"write at most {context['le']}"
    if kind in {"too_long", "string_too_long"}:
        return f"write at most {context['max_length']}"
    # Never Pydantic's own text: some of them repeat the value.
    return _TEXTS.get(kind, "has a value that does not fit")


def _unknown_key(path: Path, model: type[BaseModel]) -> str:
    parent = find_model(model, path[:-1])
    names = [] if parent is None else list(parent.model_fields)
    close = get_close_matches(str(path[-1]), names, n=1)
    if close:
        return f"is not a known key; write {close[0]}"
    return f"is not a known key; the keys here are {', '.join(names)}"
