"""The JSON Schema of scenario files, for editors: made of the models that read them."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from pydantic import BaseModel

from broker.workbench.scenarios.sheet import (
    DURATION,
    Defaults,
    Given,
    Onward,
    Scenario,
    Sheet,
    Then,
    When,
)

# The parts of a file by their headings.
PARTS: Final[Mapping[str, type[BaseModel]]] = MappingProxyType(
    {
        "A file": Sheet,
        "`defaults`": Defaults,
        "`scenarios`": Scenario,
        "`given`: the token": Given,
        "`when`: the request": When,
        "`then`: what must come out": Then,
        "`onward`: what came out, exchanged again": Onward,
    }
)
_MANY: Final = 8

_SENTENCE: Final = {
    "type": "string",
    "pattern": "^(granted( .+)?|refused( because)? \\S+)$",
    "description": "granted; granted and scopes; or: refused because and a reason.",
}


def build_schema() -> dict[str, Any]:
    """Return it as draft 2020-12, which `policies/schemas/scenarios.json` repeats."""
    schema = Sheet.model_json_schema()
    definitions = schema["$defs"]
    definitions["Then"] = {"anyOf": [_SENTENCE, definitions["Then"]]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without(schema, {"title", "default"}),
        "title": "Scenarios",
    }


def describe_part(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Yield key, kind of value and meaning of each key, the required ones first."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    for name, field in sorted(
        schema["properties"].items(), key=lambda item: item[0] not in required
    ):
        kind = _kind(field) + (", required" if name in required else "")
        yield name, kind, field.get("description", "")


def _kind(field: dict[str, Any]) -> str:
    options = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    first = options[0]
    if "enum" in first:
        reasons = len(first["enum"]) > _MANY
        return "reason" if reasons else " | ".join(map(str, first["enum"]))
    if "$ref" in first:
        return "section"
    if {"string", "object"} <= {each.get("type") for each in options}:
        return "text or section"
    if any(each.get("type") == "array" for each in options):
        items = options[-1].get("items", {})
        return "list of sections" if "$ref" in items else "list"
    if first.get("pattern") == DURATION:
        return "duration"
    kinds = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    return kinds.get(first.get("type", ""), "mapping")


def render_schema() -> str:
    """Return it as it stands in the file."""
    return orjson.dumps(build_schema(), option=orjson.OPT_INDENT_2).decode() + "\n"


def _without(value: Any, names: set[str]) -> Any:  # noqa: ANN401 — JSON
    """Return the schema without what only repeats names; ``properties`` are not keywords."""
    if isinstance(value, list):
        return [_without(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _without(each, names) for name, each in inner.items()}
        if key in {"properties", "$defs"}
        else _without(inner, names)
        for key, inner in value.items()
        if key not in names
    }
