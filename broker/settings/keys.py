"""The keys of the configuration as data: for messages, variables and the reference page."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from broker.settings.values import render_duration

_NAMES: dict[Any, str] = {
    str: "text",
    SecretStr: "text (secret)",
    int: "whole number",
    float: "number",
    bool: "true or false",
    datetime: "time",
    timedelta: "duration",
    Path: "path",
    dict: "mapping",
}


class OneWord:
    """A model whose values are written as one word, like ``20/1m``, and so count as scalars."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of ``broker.yaml``, as its reference page shows it."""

    name: str  # dotted; ``[]`` after a list
    type: str
    default: str | None  # as one would write it; None: required
    description: str
    section: bool  # holds further keys


def describe_keys(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Yield every key of the model, each section before what is in it, required keys first."""
    for name, field in sorted(
        model.model_fields.items(), key=lambda item: not item[1].is_required()
    ):
        inner = model_in(field.annotation)
        is_list = _is_list(field.annotation)
        full = f"{prefix}{name}{'[]' if inner and is_list else ''}"
        yield Key(
            name=full,
            type=_type_name(field.annotation),
            default=_default(field, is_section=inner is not None and not is_list),
            description=field.description or "",
            section=inner is not None,
        )
        if inner is not None:
            yield from describe_keys(inner, f"{full}.")


def find_model(model: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Return the model at this path; None where there is none."""
    found: type[BaseModel] | None = model
    for part in path:
        if found is None:
            return None
        if isinstance(part, str):
            field = found.model_fields.get(part)
            found = None if field is None else model_in(field.annotation)
    return found


def model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 — any annotation
    """Return the model that a field of this type holds, itself or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return None if issubclass(annotation, OneWord) else annotation
    return next((model for arg in get_args(annotation) if (model := model_in(arg))), None)


def is_scalar(field: FieldInfo) -> bool:
    """Whether one variable of the environment can say all of this field."""
    members = get_args(field.annotation)
    kinds = (
        members if get_origin(field.annotation) in {types.UnionType, Union} else [field.annotation]
    )
    return model_in(field.annotation) is None and not any(
        get_origin(kind) in {tuple, frozenset, dict} for kind in map(_bare, kinds)
    )


def _bare(annotation: Any) -> Any:  # noqa: ANN401 — any annotation
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_list(annotation: Any) -> bool:  # noqa: ANN401 — any annotation
    return get_origin(_bare(annotation)) in {tuple, frozenset}


def _type_name(annotation: Any) -> str:  # noqa: ANN401, PLR0911 — a case for each kind of type
    annotation = _bare(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in {tuple, frozenset}:
        return f"list of {_type_name(arguments[0])}"
    if origin in {types.UnionType, Union}:
        if IPv4Network in arguments or IPv6Network in arguments:
            return "network"
        return " | ".join(_type_name(kind) for kind in arguments if kind is not type(None))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(str(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "text" if model_in(annotation) is None else "section"
    return _NAMES.get(origin or annotation, str(annotation))


def _default(field: FieldInfo, *, is_section: bool) -> str | None:
    if is_section:
        return ""
    if field.is_required():
        return None
    return _render(field.get_default(call_default_factory=True, validated_data={}))


def _render(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case timedelta():
            return render_duration(value)
        case Enum():
            return str(value.value)
        case tuple() | frozenset():
            return f"[{', '.join(map(_render, value))}]"
        case _:
            return str(value)
