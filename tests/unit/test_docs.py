"""The pages against the code: what they name exists, and what they show is accepted."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
import typer
import typer.main
import yaml
from typer.core import TyperGroup

from broker.audit.batch import NOTHING_BEFORE, batch_hash
from broker.audit.event import canonical_json
from broker.audit.merkle import leaf_hash, merkle_root
from broker.errors import Reason
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE
from broker.policy.floor import Invariant
from broker.settings import Settings, describe_keys, load_settings
from broker.workbench.scenarios.document import Document
from broker.workbench.scenarios.read import read_question, read_scenarios
from broker.workbench.scenarios.setting import PARTIES
from scripts import generate_docs
from tests.markdown import (
    ROOT,
    anchors,
    blocks,
    codes,
    commands,
    links,
    name_of,
    pages,
)

PAGES = [pytest.param(path, id=name_of(path)) for path in pages()]
EXAMPLE = ROOT / "docs" / "sources" / "broker.yaml"
VARIABLES = {
    "DATABASE_URL": "postgresql://broker_app@db.example.com/broker",
    "DATABASE_OWNER_URL": "postgresql://broker_owner@db.example.com/broker",
    "REDIS_URL": "rediss://redis.example.com:6379/0",
}
PREFIXES = {reason.partition(".")[0] for reason in Reason}
# Words with a capital inside that are not ours.
FOREIGN = {"OpenTelemetry", "PostgreSQL", "WebAssembly", "BaseHTTPMiddleware", "MetaData"}
# Members of audit records that look like reasons, and actions of theirs.
MEMBERS = {"client.id", "policy.revision", "policy.decision_id", "policy.input_version"}


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(path: Path) -> None:
    """A relative link names a file that is there, and an anchor a heading of it."""
    broken = []
    for link in links(path):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert [] == broken


@pytest.mark.parametrize(
    "page",
    [
        *("index", "how-an-exchange-works", "security-model", "conformance", "decisions/README"),
        *("how-to/add-an-issuer", "how-to/add-a-client", "how-to/add-a-grant"),
        *(
            "how-to/write-a-policy",
            "how-to/test-a-policy",
            "reference/scenarios",
            "how-to/rotate-keys",
            "how-to/upgrade",
        ),
        *("how-to/answer-an-auditor", "how-to/run-in-production", "how-to/connect-a-library"),
        *("how-to/introspect-tokens", "how-to/token-proxy"),
        *("reference/configuration", "reference/errors", "reference/cli", "reference/metrics"),
        *("reference/audit-events", "reference/policies", "reference/operations"),
        *("reference/glossary", "reference/integrations"),
    ],
)
def test_every_page_can_be_reached_from_the_first(page: str) -> None:
    """The page is there, and a reader who starts at docs/index.md comes to it."""
    assert (ROOT / "docs" / f"{page}.md").resolve() in _reachable()


@cache
def _reachable() -> frozenset[Path]:
    start = ROOT / "docs" / "index.md"
    seen, waiting = {start}, [start]
    while waiting:
        path = waiting.pop()
        for link in links(path):
            target = (path.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in seen:
                seen.add(target)
                waiting.append(target)
    return frozenset(seen)


def test_every_page_that_the_code_speaks_of_is_there() -> None:
    """A message that sends its reader to a page does not send them into the void."""
    sources = [
        *ROOT.glob("broker/**/*.py"),
        *ROOT.glob("deploy/*"),
        *ROOT.glob("policies/**/*.rego"),
        *(ROOT / name for name in ("Makefile", "Dockerfile", "docker-compose.yml", "README.md")),
    ]
    missing = {
        (name_of(path), named)
        for path in sources
        if path.is_file()
        for named in re.findall(r"\bdocs/[\w./-]+\.md", path.read_text("utf-8", errors="replace"))
        if not (ROOT / named).is_file()
    }

    assert set() == missing


@pytest.mark.parametrize("path", PAGES)
def test_every_name_in_code_type_exists(path: Path) -> None:
    """Modules, classes, reasons, keys, variables and metrics are spelled as the code has them."""
    unknown = {code for code in codes(path) if not _exists(code)}

    assert set() == unknown


def _exists(code: str) -> bool:
    if re.fullmatch(r"broker(?!\.yaml$)(\.[A-Za-z_]\w*)+", code):
        return _is_module(code) or code in _instruments() or code in _packages()
    if re.fullmatch(r"broker_[a-z_]+_(total|seconds)", code):
        return code in _prometheus_names()
    if re.fullmatch(r"BROKER_[A-Z0-9_]+", code):
        return code in {"BROKER_CONFIG", "BROKER_OPA"} | _variables()
    if re.fullmatch(r"[A-Z][a-z]+([A-Z][a-z]+)+", code):
        return code in FOREIGN or code in _classes()
    if re.fullmatch(r"[a-z_]+\.[a-z_]+", code) and code.partition(".")[0] in PREFIXES:
        return code in {*Reason, *MEMBERS, *_keys(), *_input_members(), *_actions()}
    return True


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@cache
def _packages() -> frozenset[str]:
    """Return the packages of the policy, and the places that packages are directly below."""
    found = {
        package
        for path in ROOT.glob("policies/**/*.rego")
        for package in re.findall(r"^package (\S+)", path.read_text("utf-8"), re.MULTILINE)
    }
    return frozenset(found | {"broker.rules", "broker.proxy_rules", "broker.library"})


@cache
def _metrics() -> frozenset[generate_docs.Metric]:
    return frozenset(
        metric for path in generate_docs._modules() for metric in generate_docs._metrics_of(path)
    )


def _instruments() -> set[str]:
    return {metric.name for metric in _metrics()}


@cache
def _prometheus_names() -> frozenset[str]:
    return frozenset(map(generate_docs._prometheus_name, _metrics()))


@cache
def _classes() -> frozenset[str]:
    return frozenset(
        node.name
        for path in ROOT.glob("broker/**/*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    )


@cache
def _actions() -> frozenset[str]:
    """Return what is done to the trail and the policy, as rows say."""
    return frozenset(
        action
        for path in ROOT.glob("broker/**/*.py")
        for action in re.findall(r'"((?:audit|policy)\.[a-z-]+)"', path.read_text("utf-8"))
    )


@cache
def _keys() -> frozenset[str]:
    return frozenset(key.name for key in describe_keys(Settings))


@cache
def _variables() -> frozenset[str]:
    scalars = (key.name for key in describe_keys(Settings) if not key.section)
    return frozenset(generate_docs._variable(Settings, name) for name in scalars)


@cache
def _input_members() -> frozenset[str]:
    schemas = [
        json.loads((ROOT / "policies" / "schemas" / name).read_text("utf-8"))
        for name in ("input.json", "proxy_input.json")
    ]
    inner = {
        f"{section}.{name}"
        for schema in schemas
        for section, found in schema["properties"].items()
        for name in found.get("properties") or schema["definitions"]["token"]["properties"]
    }
    return frozenset(inner)


def _marked(language: str, mark: str) -> list[Any]:
    return [
        pytest.param(block.text, id=f"{name_of(path)}-{number}")
        for path in pages()
        for number, block in enumerate(blocks(path), 1)
        if (block.language, block.mark) == (language, mark)
    ]


@pytest.mark.parametrize("text", _marked("yaml", "broker.yaml"))
def test_a_whole_configuration_is_accepted(text: str, tmp_path: Path) -> None:
    """What a page shows as broker.yaml loads as it stands."""
    assert "https://broker.example.com" == _load(tmp_path, text).issuer


def test_the_example_names_every_key(tmp_path: Path) -> None:
    """Whoever copies from the example finds every key that there is."""
    settings = _load(tmp_path, EXAMPLE.read_text("utf-8"))
    named = set(re.findall(r"[a-z0-9_]+(?=:)", EXAMPLE.read_text("utf-8")))
    # Inline keys are long, a server has an address of its own; the comments speak of them.
    spoken_of = {"jwks", "jwks_file", "url"}

    assert settings.issuers
    assert set() == {key.rpartition(".")[2].removesuffix("[]") for key in _keys()} - (
        named | spoken_of
    )


@pytest.mark.parametrize("text", _marked("yaml", "fragment"))
def test_a_part_of_a_configuration_is_accepted(text: str, tmp_path: Path) -> None:
    """What a page shows as a part of broker.yaml loads in place of that part of the example."""
    document = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    part = yaml.safe_load(text)
    if "issuers" in part:
        # The example's clients and issuers name one another; what is shown stands alone.
        document |= {"clients": [], "issuers": []}
    if "clients" in part:
        document["issuers"] = document["issuers"][:1]
    document |= part

    assert _load(tmp_path, yaml.safe_dump(document)).targets


@pytest.mark.parametrize("text", _marked("yaml", "grants"))
def test_grants_fit_their_schema(text: str) -> None:
    """What a page shows as grants data is what the policy reads."""
    schema = json.loads((ROOT / "policies" / "schemas" / "grants.json").read_text("utf-8"))

    jsonschema.validate(yaml.safe_load(text), schema)


@pytest.mark.parametrize("text", _marked("yaml", "parameters"))
def test_parameters_fit_their_schema(text: str) -> None:
    """What a page shows as parameters is what the library is called with."""
    schema = json.loads((ROOT / "policies" / "schemas" / "parameters.json").read_text("utf-8"))

    jsonschema.validate(yaml.safe_load(text), schema)


@pytest.mark.parametrize("text", _marked("yaml", "question"))
def test_questions_are_read(text: str) -> None:
    """Of the parties that the example configuration has."""
    settings = load_settings(EXAMPLE, VARIABLES, only=PARTIES)
    document = Document(Path("question.yaml"), yaml.safe_load(text), {})

    assert read_question(document, settings).client == "checkout"


@pytest.mark.parametrize("text", _marked("yaml", "scenarios"))
def test_scenarios_can_be_asked(text: str, tmp_path: Path) -> None:
    """What a page shows as a scenario file is read as one."""
    path = tmp_path / "shown.scenarios.yaml"
    path.write_text(text)

    assert read_scenarios(path).scenarios


def _load(folder: Path, text: str) -> Settings:
    path = folder / "broker.yaml"
    path.write_text(text)
    return load_settings(path, VARIABLES)


MARKS = {"broker.yaml", "fragment", "grants", "parameters", "question", "scenarios"}


@pytest.mark.parametrize("path", PAGES)
def test_every_block_says_what_it_is(path: Path) -> None:
    """A block has a language, and YAML says of what it is, so that none goes unread."""
    unmarked = [
        block
        for block in blocks(path)
        if not block.language or (block.language == "yaml" and block.mark not in MARKS)
    ]

    assert [] == unmarked


@cache
def _root() -> TyperGroup:
    from broker.cli import build_app

    root = typer.main.get_command(build_app())
    assert isinstance(root, TyperGroup)
    return root


def _broker_lines(path: Path) -> Iterator[str]:
    for block in blocks(path):
        if block.language in {"sh", "text"}:
            yield from (line for line in commands(block.text) if _is_broker(line))
    yield from (code for code in codes(path) if code.startswith("broker "))


def _is_broker(line: str) -> bool:
    return re.match(r"\s*(\.venv/bin/)?broker [a-z]", line) is not None and "[" not in line


@pytest.mark.parametrize("path", PAGES)
def test_every_broker_command_is_one(path: Path) -> None:
    """Each command line names a command, and options that this command has."""
    for line in _broker_lines(path):
        words = shlex.split(re.split(r"[|>]", line)[0])[1:]
        command: Any = _root()
        context = typer.Context(command, info_name="broker")
        while isinstance(command, TyperGroup) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
            context = typer.Context(command, parent=context)
        if isinstance(command, TyperGroup) and not command.invoke_without_command:
            assert not [word for word in words if not word.startswith("-")], line
            continue
        # What a sentence calls by a capital word stands for a value.
        command.make_parser(context).parse_args([word for word in words if word != "…"])


def test_the_worked_example_of_the_hashes_is_right() -> None:
    """An auditor who follows the page by hand comes to the same hashes."""
    page = ROOT / "docs" / "reference" / "audit-events.md"
    found = list(blocks(page))
    records = [block.text.strip().encode() for block in found if block.mark == "record"]
    hashes = next(block.text for block in found if block.mark == "hashes")
    leaves = [leaf_hash(record) for record in records]
    writer = UUID(json.loads(records[0])["writer"])
    at = datetime(2026, 1, 2, 3, 4, 6, 500_000, UTC)
    root = merkle_root(leaves)

    assert records == [canonical_json(json.loads(record)) for record in records]
    assert re.findall(r"[0-9a-f]{64}", hashes) == [
        leaves[0].hex(),
        leaves[1].hex(),
        root.hex(),
        batch_hash(writer, 1, 1, 2, at, root, NOTHING_BEFORE).hex(),
    ]


def test_every_reason_has_advice_and_all_advice_a_reason() -> None:
    """What to do is said about each reason, and about nothing that is none."""
    document = tomllib.loads((ROOT / "docs" / "sources" / "errors.toml").read_text("utf-8"))
    shared = {f"{token}_token" for token in ("subject", "actor")}
    known = {reason.value for reason in Reason}
    known |= {
        f"token.{cause}"
        for reason in Reason
        for token, _, cause in [reason.partition(".")]
        if token in shared
    }

    assert set() == set(document["advice"]) - known
    assert PREFIXES == set(document["headings"])


def test_every_rule_of_the_floor_is_told() -> None:
    """The page on policies names what the floor checks, as the audit record does."""
    page = (ROOT / "docs" / "reference" / "policies.md").read_text("utf-8")
    floor = page.partition("## The floor")[2].partition("## ")[0]

    assert [invariant.value for invariant in Invariant] == re.findall(
        r"^\| `(\w+)`", floor, re.MULTILINE
    )


def test_the_grant_type_is_spelled_as_the_code_has_it() -> None:
    """Whoever copies a request from a page sends the right one."""
    spelled = {
        urn
        for path in pages()
        for urn in re.findall(r"urn:ietf:params:oauth:grant-type:[\w:-]+", path.read_text("utf-8"))
    }

    assert {GRANT_TYPE_TOKEN_EXCHANGE} == spelled


@pytest.mark.parametrize("name", [*generate_docs.PAGES])
def test_a_generated_page_is_the_same_each_time(name: str) -> None:
    """Nothing of the machine, the time or the order of a set gets into a page."""
    assert generate_docs.PAGES[name]() == generate_docs.PAGES[name]()


def test_a_page_that_is_not_what_the_code_says_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check writes nothing, fails, and says which page it is."""
    monkeypatch.setattr(generate_docs, "DOCS", tmp_path)
    monkeypatch.setattr(generate_docs, "PAGES", {"good.md": lambda: "a\n", "bad.md": lambda: "b\n"})
    (tmp_path / "good.md").write_text("a\n")

    assert 1 == generate_docs.main(["--check"])
    assert "docs/bad.md is not what the code says; run: make docs\n" == capsys.readouterr().err
    assert not (tmp_path / "bad.md").exists()
    assert 0 == generate_docs.main([])
    assert 0 == generate_docs.main(["--check"])
