"""The page of the policy library: what stands in its METADATA, its schema and its templates."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_POLICIES = Path(__file__).parents[1] / "policies"
_HEAD = re.compile(r"(package )?([\w.]+)(\([^)]*\))?")
_TABLE = Callable[[Iterable[str], Iterable[Iterable[str]]], str]


class _Annotated(NamedTuple):
    """A package or a rule with what its METADATA says."""

    name: str
    arguments: str
    title: str
    description: str


def library_page(source: str, table: _TABLE) -> str:
    """Return the page; ``source`` is its beginning."""
    schema = json.loads((_POLICIES / "schemas/parameters.json").read_text("utf-8"))
    parts = [source]
    for folder in sorted((_POLICIES / "broker/library").iterdir()):
        package, *rules = _annotated((folder / f"{folder.name}.rego").read_text("utf-8"))
        parts += [f"## {folder.name}", package.description]
        parts.append(
            table(
                ["call", "holds where"],
                (
                    [f"`{folder.name}.{each.name}{each.arguments}`", each.description]
                    for each in rules
                ),
            )
        )
        if folder.name in schema["properties"]:
            parts += _parameters(folder.name, schema, table)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _annotated(text: str) -> Iterator[_Annotated]:
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line != "# METADATA":
            continue
        block = []
        for after in lines[number + 1 :]:
            if not after.startswith("#"):
                head = _HEAD.match(after)
                break
            block.append(after[1:].removeprefix(" "))
        found = yaml.safe_load("\n".join(block))
        if head is None:
            raise ValueError(f"what stands below METADATA is no rule: {after}")
        yield _Annotated(
            head[2], head[3] or "", found.get("title", ""), found.get("description", "")
        )


def _parameters(rule: str, schema: Mapping[str, Any], table: _TABLE) -> Iterator[str]:
    from broker.policy.scaffold.scaffold import dump  # noqa: PLC0415 — only for its page
    from broker.policy.scaffold.template import (  # noqa: PLC0415 — likewise
        build_parameters,
        render_rule,
    )

    described = schema["definitions"][rule]
    yield f"Parameters, below `{rule}` and a name: {_first_small(_form(described))}"
    members = described.get("items", described).get("properties", {})
    required = set(described.get("items", described).get("required", ()))
    if members:
        yield table(
            ["member", "what it is", "needed"],
            (
                [f"`{name}`", member.get("description", ""), "yes" if name in required else ""]
                for name, member in members.items()
            ),
        )
    yield f"```yaml parameters\n{dump(build_parameters(rule, 'ledger')).strip()}\n```"
    text, _ = render_rule(rule, f"ledger_{rule}", "ledger")
    body = (
        "# METADATA\n# description"
        + text.rpartition("package ")[2].partition("# METADATA\n# description")[2]
    )
    yield f"```rego\n{body.strip()}\n```"


def _form(described: Mapping[str, Any]) -> str:
    if described["type"] == "array":
        return described.get("description") or "A list; each of its items has these members."
    least = " At least one." if described.get("minProperties") else ""
    return f"A mapping with these members.{least}"


def _first_small(text: str) -> str:
    return text[:1].lower() + text[1:]
