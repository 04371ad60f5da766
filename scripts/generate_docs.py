"""Write the pages of docs/ that only repeat what the code says: ``make docs``.

Usage: scripts/generate_docs.py [--check]

With ``--check`` nothing is written; exit code 1 names each page that is not what the code says.
What a page says beyond the code stands in docs/sources/.
"""

import ast
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import typer
import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCES = DOCS / "sources"

sys.path.insert(0, str(ROOT))  # for tests.ledger, which is no part of the package

_FACTORIES = {
    "create_counter": "counter",
    "create_up_down_counter": "gauge",
    "create_gauge": "gauge",
    "create_histogram": "histogram",
    "create_observable_counter": "counter",
    "create_observable_gauge": "gauge",
    "create_observable_up_down_counter": "gauge",
}
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"
_UNITS = {"1": "", "s": "seconds", "By": "bytes"}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; a bar inside a cell is escaped."""
    titles = list(header)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in line)} |"
        for line in lines
    )


def code(text: str) -> str:
    """Return the text as code; nothing for nothing."""
    return f"`{text}`" if text else ""


def source(name: str) -> str:
    """Return what somebody wrote for a page."""
    return (SOURCES / name).read_text("utf-8").strip()


def configuration() -> str:
    """Every key of ``broker.yaml``, by section."""
    from broker.settings import Settings, describe_keys  # noqa: PLC0415 — only for its page

    keys = list(describe_keys(Settings))
    sections = {key.name: key for key in keys if key.section}
    parts = [source("configuration.md"), f"```yaml broker.yaml\n{source('broker.yaml')}\n```"]

    def section_of(name: str) -> str:
        return name.rpartition(".")[0]

    grouped = groupby(
        sorted(
            (key for key in keys if not key.section),
            key=lambda key: ("", *sections).index(section_of(key.name)),
        ),
        key=lambda key: section_of(key.name),
    )
    for section, members in grouped:
        title = code(section) if section else "Top level"
        parts += [f"## {title}", sections[section].description if section else ""]
        parts.append(
            table(
                ("key", "type", "default", "variable", "meaning"),
                (
                    (
                        code(key.name.removeprefix(f"{section}.")),
                        key.type.replace(_TOKEN_TYPE, ""),
                        _default(key.default),
                        code(_variable(Settings, key.name)),
                        key.description,
                    )
                    for key in members
                ),
            )
        )
    return _join(parts)


def _default(value: str | None) -> str:
    if value is None:
        return "required"
    return "absent" if value == "null" else code(value.replace(_TOKEN_TYPE, ""))


def _variable(settings: type[Any], name: str) -> str:
    """Return the variable that overrides a key: a number stands for its place in a list."""
    from broker.settings.keys import find_model, is_scalar  # noqa: PLC0415 — only for its page

    path: list[str | int] = []
    for part in name.split("."):
        path += [part.removesuffix("[]"), 0] if part.endswith("[]") else [part]
    parent = find_model(settings, tuple(path[:-1]))
    if parent is None or not is_scalar(parent.model_fields[str(path[-1])]):
        return ""
    return "BROKER_" + "__".join(str(part).upper() for part in path)


def errors() -> str:
    """Every reason of a refusal, and what its caller can do."""
    from broker.errors import PUBLIC, Reason  # noqa: PLC0415 — only for its page

    document = tomllib.loads(source("errors.toml"))
    advice = document["advice"]
    parts = [source("errors.md")]
    for prefix, members in groupby(Reason, key=lambda reason: reason.partition(".")[0]):
        rows = []
        for reason in members:
            public = PUBLIC[reason]
            # Subject and actor token share their causes, so one line says what to do about both.
            shared = f"token.{reason.partition('.')[2]}"
            advised = advice.get(reason.value) or advice[shared]
            status = str(int(public.status))
            rows.append(
                (code(reason.value), code(public.error), status, public.description, advised)
            )
        parts += [f"## {document['headings'][prefix]}"]
        parts.append(table(("reason", "error", "status", "text", "what to do"), rows))
    return _join(parts)


def command_line() -> str:
    """Every command, its arguments and options."""
    try:
        from broker.cli import build_app  # noqa: PLC0415 — costs every library that there is

        root = typer.main.get_command(build_app())
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"docs/reference/cli.md cannot be written: there is no {missing.name}"
        ) from missing
    assert isinstance(root, TyperGroup)
    parts = [source("cli.md")]
    for words, command in _commands("broker", root):
        parts += [f"## {words}", command.help or ""]
        context = typer.Context(command, info_name=words)
        if isinstance(command, TyperGroup):
            names = (f"[{words} {name}](#{words}-{name})" for name in command.commands)
            parts.append(" · ".join(name.replace("#broker ", "#broker-") for name in names))
        usage = " ".join(command.collect_usage_pieces(context))
        parts.append(f"```text\n{words} {usage}\n```")
        parameters = [
            parameter
            for parameter in command.params
            if isinstance(parameter, TyperArgument | TyperOption)
            and not parameter.hidden
            and not parameter.name.endswith("_completion")  # the library's, for any command line
        ]
        if parameters:
            parts.append(
                table(
                    ("argument or option", "default", "meaning"),
                    (_parameter(parameter, context) for parameter in parameters),
                )
            )
        parts.append(command.epilog or "")
    return _join(parts)


def _commands(words: str, command: object) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    if isinstance(command, TyperCommand | TyperGroup):
        yield words, command
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _commands(f"{words} {name}", inner)


def _parameter(
    parameter: TyperArgument | TyperOption, context: typer.Context
) -> tuple[str, str, str]:
    default = parameter.default
    shown = "" if default is None or default is False or callable(default) else str(default)
    told = "required" if parameter.required else code(shown)
    if isinstance(parameter, TyperArgument):
        return code(parameter.display_name_raw.upper()), told, parameter.help or ""
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    if not parameter.is_flag:
        kind = parameter.display_type(context) or ""
        names += f" {kind.replace('list[str]', 'text').replace('str', 'text')}"
    return code(names), told, parameter.help or ""


class Metric(NamedTuple):
    """An instrument as the code creates it."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    meaning: str


def metrics() -> str:
    """Every instrument that the code creates, found in its syntax tree."""
    found = sorted({metric for path in _modules() for metric in _metrics_of(path)})
    rows = (
        (
            code(metric.name),
            code(_prometheus_name(metric)),
            metric.kind,
            metric.unit if metric.unit != "1" else "",
            ", ".join(map(code, metric.labels)),
            metric.meaning,
        )
        for metric in found
    )
    header = ("instrument", "name at /metrics", "kind", "unit", "labels", "meaning")
    return _join([source("metrics.md"), table(header, rows), source("metrics.tail.md")])


def _modules() -> Iterator[Path]:
    yield from sorted(ROOT.glob("broker/**/*.py"))


def _metrics_of(path: Path) -> Iterator[Metric]:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in _FACTORIES or ast.unparse(node.func.value) != "meter":
            continue
        told = {key.arg: key.value for key in node.keywords}
        told |= dict(zip(("name", "callbacks"), node.args, strict=False))
        yield Metric(
            name=ast.literal_eval(told["name"]),
            kind=_FACTORIES[node.func.attr],
            unit=ast.literal_eval(told["unit"]) if "unit" in told else "1",
            labels=tuple(sorted(_labels(tree, node))),
            meaning=ast.literal_eval(told["description"]) if "description" in told else "",
        )


def _labels(tree: ast.Module, created: ast.Call) -> set[str]:
    """Return the labels that an instrument is used with in its module."""
    names = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and node.value is created
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    labels: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id in names:
                for argument in [*node.args[1:], *(key.value for key in node.keywords)]:
                    labels |= _keys(tree, argument)
    for argument in [*created.args[1:], *(key.value for key in created.keywords)]:
        # An observable one is asked: its callback makes observations with labels.
        for name in (n.id for n in ast.walk(argument) if isinstance(n, ast.Name)):
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    labels |= _keys(tree, node)
    return labels


def _keys(tree: ast.Module, place: ast.AST) -> set[str]:
    """Return the names of the labels in an expression, or in what its names stand for."""
    keys = {
        key.value
        for node in ast.walk(place)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    if keys or isinstance(place, ast.FunctionDef):
        return keys
    names = {node.id for node in ast.walk(place) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        value = getattr(node, "value", None)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        assigned = {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.Assign | ast.AnnAssign) and value and assigned & names:
            keys |= _keys_of_value(value)
    return keys


def _keys_of_value(value: ast.expr) -> set[str]:
    inner = value.value if isinstance(value, ast.DictComp) else value
    return _keys(ast.Module([], []), inner)


def _prometheus_name(metric: Metric) -> str:
    name = metric.name.replace(".", "_")
    unit = _UNITS.get(metric.unit, metric.unit)
    if unit and not name.endswith(unit):
        name += f"_{unit}"
    return f"{name}_total" if metric.kind == "counter" else name


def conformance() -> str:
    """Every row of the ledger with the tests that name it."""
    from tests.ledger import load_ledger, namings_by_row  # noqa: PLC0415 — only for its page

    ledger, tests = load_ledger(), namings_by_row()

    def shown_by(row: str) -> str:
        named = tests.get(row, [])
        return "<br>".join(f"[{n.test}](../{n.path})" for n in named) or "none yet"

    parts = [source("conformance.md"), "## Rows of this version"]
    for group in ledger.required:
        rows = ((row.id, row.requirement, row.source, shown_by(row.id)) for row in group.rows)
        header = ("row", "requirement", "source", "shown by")
        parts += [f"### {group.title}", table(header, rows)]
    parts.append(source("conformance.tail.md"))
    for later in ledger.later:
        parts += [
            f"### {later.title} ({later.capability})",
            table(("row", "subject"), later.rows),
        ]
    return _join(parts)


def scenario_schema() -> str:
    """Return the JSON Schema of scenario files, which travels with the policy."""
    from broker.workbench.scenarios.schema import render_schema  # noqa: PLC0415 — only for its page

    return render_schema()


def scenarios() -> str:
    """Return every key of scenario files, a table for each part."""
    from broker.workbench.scenarios.schema import PARTS, describe_part  # noqa: PLC0415 — likewise

    parts = [source("scenarios.md")]
    for title, model in PARTS.items():
        rows = ((code(key), kind, meaning) for key, kind, meaning in describe_part(model))
        parts += [f"## {title}", table(("key", "value", "meaning"), rows)]
    return _join([*parts, source("scenarios.tail.md")])


def policy_library() -> str:
    """Every rule of the policy library, and what it is called with."""
    from scripts.library_page import library_page  # noqa: PLC0415 — only for its page

    return library_page(source("policy-library.md"), table)


def _join(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/configuration.md": configuration,
    "reference/errors.md": errors,
    "reference/cli.md": command_line,
    "reference/metrics.md": metrics,
    "reference/policy-library.md": policy_library,
    "reference/scenarios.md": scenarios,
    "conformance.md": conformance,
    "../policies/schemas/scenarios.json": scenario_schema,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` say which of them are not as the code has it."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    stale = []
    for name, build in PAGES.items():
        path = DOCS / name
        text = build()
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if not arguments:
            path.write_text(text, "utf-8")
            print(f"wrote docs/{name}")
    if arguments and stale:
        for name in stale:
            print(f"docs/{name} is not what the code says; run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
