r"""Make a JSON Schema of OCSF event classes from a clone of the ocsf/ocsf-schema repository.

    python -m scripts.build_ocsf_schema CLONE v1.8.0 > tests/vectors/ocsf-1.8.0.json
    python -m scripts.build_ocsf_schema CLONE a5cfc68e record_integrity \
        > tests/vectors/ocsf-1.9.0-dev.json

The arguments after the revision are profiles that events may have. Only the classes and objects
that our events are made of are in it, and nothing else may stand in an event: so the schema is
stricter than OCSF's own. Texts are left out.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

CLASSES = (
    "events/iam/authentication",
    "events/application/api_activity",
    "events/application/application_lifecycle",
    "events/findings/detection_finding",
)
PARENTS = {
    "base_event": "events/base_event",
    "iam": "events/iam/iam",
    "application": "events/application/application",
    "finding": "events/findings/finding",
}
OBJECTS = (
    *("actor", "analytic", "api", "attestation", "authentication_token", "authorization"),
    *("finding_info", "fingerprint", "http_request", "idp", "metadata", "network_endpoint"),
    *("observable", "policy", "prev_event", "product", "request", "resource_details", "service"),
    *("session", "user"),
)


class Clone:
    """The files of a revision."""

    def __init__(self, folder: str, revision: str) -> None:
        self._folder = folder
        self.revision = revision
        self.version = self.read("version")["version"]
        dictionary = self.read("dictionary")
        self.attributes = dictionary["attributes"]
        self.types = dictionary["types"]["attributes"]
        self.categories = self.read("categories")["attributes"]

    def read(self, path: str) -> dict[str, Any]:
        """Return the document at ``path``, which is without its ``.json``."""
        show = ["git", "-C", self._folder, "show", f"{self.revision}:{path}.json"]
        found = json.loads(subprocess.run(show, capture_output=True, check=True).stdout)
        assert isinstance(found, dict)
        return found

    def has(self, path: str) -> bool:
        """Whether there is one."""
        show = ["git", "-C", self._folder, "cat-file", "-e", f"{self.revision}:{path}.json"]
        return subprocess.run(show, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Print the schema."""
    folder, revision, *profiles = sys.argv[1:]
    clone = Clone(folder, revision)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"OCSF {clone.version} (Apache-2.0), by scripts/build_ocsf_schema.py",
        "oneOf": [{"$ref": f"#/$defs/{path.rsplit('/', 1)[1]}"} for path in CLASSES],
        "$defs": {
            **{path.rsplit("/", 1)[1]: event_schema(clone, path, profiles) for path in CLASSES},
            **{
                name: object_schema(clone, f"objects/{name}", profiles)
                for name in OBJECTS
                if clone.has(f"objects/{name}")
            },
        },
    }
    print(json.dumps(document, separators=(",", ":"), sort_keys=True))
    return 0


def event_schema(clone: Clone, path: str, profiles: list[str]) -> dict[str, Any]:
    """Return the schema of an event class, with its numbers."""
    chain = list(lineage(clone, path))
    schema = object_schema(clone, path, profiles)
    category = next(one["category"] for one in chain if one.get("category", "other") != "other")
    category_uid = clone.categories[category]["uid"]
    class_uid = category_uid * 1000 + chain[0]["uid"]
    found = schema["properties"]
    activities = found["activity_id"]["enum"]
    found["category_uid"] = {"const": category_uid}
    found["class_uid"] = {"const": class_uid}
    found["type_uid"] = {"enum": [class_uid * 100 + one for one in activities]}
    return schema


def object_schema(clone: Clone, path: str, profiles: list[str]) -> dict[str, Any]:
    """Return the schema of an object: nothing but its attributes, with those that it needs."""
    chain = list(lineage(clone, path))
    attributes = merged(clone, chain, profiles)
    properties = {
        name: found
        for name, attribute in sorted(attributes.items())
        if (found := attribute_schema(clone, name, attribute)) is not None
    }
    needed = [name for name, one in attributes.items() if one.get("requirement") == "required"]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": sorted(needed),
        "additionalProperties": False,
    }
    constraints: dict[str, list[str]] = next(
        (one["constraints"] for one in chain if "constraints" in one), {}
    )
    if names := constraints.get("at_least_one"):
        schema["anyOf"] = [{"required": [name]} for name in names]
    if names := constraints.get("just_one"):
        schema["oneOf"] = [{"required": [name]} for name in names]
    return schema


def lineage(clone: Clone, path: str) -> Iterator[dict[str, Any]]:
    """Yield the document and whatever it extends, itself first."""
    while True:
        document = clone.read(path)
        yield document
        parent = document.get("extends")
        if parent is None:
            return
        path = PARENTS.get(parent, f"objects/{parent}")


def merged(
    clone: Clone, chain: list[dict[str, Any]], profiles: list[str]
) -> dict[str, dict[str, Any]]:
    """Return the attributes of all of them, the nearer definition before the farther one."""
    attributes: dict[str, dict[str, Any]] = {}
    for document in reversed(chain):
        own = dict(document["attributes"])
        for include in own.pop("$include", ()):
            profile = include.removeprefix("profiles/").removesuffix(".json")
            if profile in profiles:
                own = clone.read(f"profiles/{profile}")["attributes"] | own
        for name, attribute in own.items():
            before = attributes.get(name, {})
            enum = before.get("enum", {}) | attribute.get("enum", {})
            attributes[name] = before | attribute | ({"enum": enum} if enum else {})
    return {
        name: one
        for name, one in attributes.items()
        if one.get("profile") is None or one["profile"] in profiles
    }


def attribute_schema(
    clone: Clone, name: str, attribute: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the schema of an attribute; None: it holds an object that is in no event of ours."""
    known = clone.attributes[name]
    kind = known["type"]
    schema: dict[str, Any]
    if kind in OBJECTS:
        schema = {"$ref": f"#/$defs/{kind}"}
    elif kind == "object":
        schema = {"type": "object"}  # of any shape, as OCSF says
    elif not kind.endswith("_t"):
        return None
    else:
        schema = type_schema(clone, kind)
        if enum := known.get("enum", {}) | attribute.get("enum", {}):
            numeric = schema.get("type") == "integer"
            schema = {"enum": sorted(map(int, enum)) if numeric else sorted(enum)}
    return {"type": "array", "items": schema} if known.get("is_array") else schema


def type_schema(clone: Clone, name: str) -> dict[str, Any]:
    """Return the schema of a type of the dictionary."""
    kind = clone.types.get(name, {})
    base = kind.get("type", name)
    schemas: dict[str, dict[str, Any]] = {
        "boolean_t": {"type": "boolean"},
        "float_t": {"type": "number"},
        "integer_t": {"type": "integer"},
        "long_t": {"type": "integer"},
        "string_t": {"type": "string"},
        "json_t": {},
    }
    schema = schemas[base]
    if "regex" in kind:
        schema["pattern"] = kind["regex"]
    if "max_len" in kind:
        schema["maxLength"] = kind["max_len"]
    if "range" in kind:
        schema["minimum"], schema["maximum"] = kind["range"]
    return schema


if __name__ == "__main__":
    sys.exit(main())
