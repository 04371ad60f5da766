"""The schema that editors have is the one that the reader has."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from broker.errors import Reason
from broker.workbench.scenarios.schema import build_schema, render_schema

ROOT = Path(__file__).parents[4]
SCHEMA = ROOT / "policies" / "schemas" / "scenarios.json"


def test_the_file_is_what_the_models_say() -> None:
    """`make docs` writes it."""
    assert render_schema() == SCHEMA.read_text("utf-8")


def test_the_schema_is_one() -> None:
    """As editors read it, with every reason."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)

    assert {each.value for each in Reason} == set(
        schema["$defs"]["Then"]["anyOf"][1]["properties"]["refused"]["anyOf"][0]["enum"]
    )


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.relative_to(ROOT).as_posix())
        for part in ("policies", "examples")
        for path in sorted((ROOT / part).rglob("*.scenarios.yaml"))
    ],
)
def test_every_scenario_file_fits_it_and_names_it(path: Path) -> None:
    """The line that an editor follows leads to the schema, beside them in a whole policy folder."""
    text = path.read_text("utf-8")
    content = yaml.load(text, Loader=yaml.BaseLoader)

    assert "# yaml-language-server: $schema=../schemas/scenarios.json" == text.splitlines()[0]
    assert ("policies", "scenarios") == path.parts[-3:-1]
    jsonschema.Draft202012Validator(_lenient(build_schema())).validate(content)


def _lenient(schema: Any) -> Any:
    """The schema for values that are all text, as YAML's base loader has them."""
    if isinstance(schema, list):
        return [_lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _lenient(value)
        for name, value in schema.items()
        if not (name == "type" and value in ("integer", "boolean", "null"))
    }
