"""The JSON Schema of scenario files, for editors: made of the models that read them."""

from typing import Any, Final

import orjson

from broker.workbench.scenarios.sheet import Sheet

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
