"""``broker policy``: build, test and check the rules that decide."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.cli.console import build_console
from broker.cli.findings import (
    Finding,
    bad,
    good,
    print_findings,
    print_findings_json,
    warning,
    worst,
)
from broker.cli.options import Format, Output
from broker.cli.policy_tests import Failure, PolicyTests, run_policy_tests
from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle, build_bundle, find_opa, load_bundle, render_archive
from broker.policy.compiler import explain, run_opa
from broker.policy.grants import check_grants, read_grants
from broker.policy.snapshot import take_snapshot
from broker.settings import Settings, load_settings

FAILED: Final = 1
_FOLDER: Final = Path("policies")
_INPUT_SCHEMA: Final = re.compile(rb"\bschema\.(proxy_)?input\b")

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Build, test and check the policy.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Folder = Annotated[Path, typer.Argument(help="The policy folder: a bundle root.")]


class Engine(StrEnum):
    """Who is to decide by the bundle."""

    WASM = "wasm"
    OPA = "opa"


@app.command(
    epilog="Exit codes: **0** built, **2** it does not compile.\n\n"
    "Example: `broker policy build policies --output bundle.tar.gz`"
)
def build(
    folder: Folder = _FOLDER,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("bundle.tar.gz"),
    engine: Annotated[
        Engine,
        typer.Option(help="`wasm`: for the broker itself; `opa`: for an OPA server."),
    ] = Engine.WASM,
) -> None:
    """Compile a policy folder to one file, and print its revision.

    The revision is a digest of all that is in the bundle, so the same folder gives the same file
    anywhere, and it is what audit rows name. Both engines have it: serve the bundle built for
    `opa`, not the folder, and the server knows its revision too. Tests do not travel.
    """
    bundle = build_bundle(folder)
    try:
        output.write_bytes(render_archive(bundle, engine.value))
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written ({error.strerror})") from error
    print(f"{bundle.revision}  {output}")


@app.command(
    "test",
    epilog="Exit codes: **0** all pass, **1** one fails or too little is covered,"
    " **2** they cannot be run.\n\nExample: `broker policy test policies --threshold 100`",
)
def run_tests(
    folder: Folder = _FOLDER,
    threshold: Annotated[
        float, typer.Option(min=0, max=100, help="Least coverage that passes, in per cent.")
    ] = 0.0,
) -> None:
    """Run the tests of a policy folder (`*_test.rego`), and say which lines no test reaches."""
    result = run_policy_tests(find_opa(), folder)
    _print_tests(result, folder, threshold)
    if result.failures or result.coverage < threshold or not result.passed:
        raise typer.Exit(FAILED)


@app.command(
    epilog="Exit codes: **0** all is well, **1** something should be looked at, **2** something"
    " will fail.\n\nExample: `broker policy check policies --config broker.yaml`"
)
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="The policy folder, or a built bundle; absent: what the configuration names,"
            " or `policies`.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Also hold the grants against this configuration.", show_default=False),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what is wrong with a policy, without asking it anything.

    Looked at: format, types by the input's schema, whether it compiles to WebAssembly without
    built-ins that a decision must not depend on, and the grants: their form, and with `--config`
    whether they name clients, targets, scopes and issuers that are configured.
    """
    settings = None if config is None else load_settings(config)
    if path is None:
        path = _FOLDER if settings is None else settings.policy.path
    findings = list(_check_folder(path) if path.is_dir() else ())
    findings += _check_bundle(path, settings)
    if output is Format.JSON:
        print_findings_json(findings)
    else:
        print_findings(findings, build_console())
    raise typer.Exit(worst(findings).value)


def _check_folder(folder: Path) -> Iterator[Finding]:
    opa = find_opa()
    ended = run_opa(opa, ["fmt", "--fail", "--list", "."], folder=folder)
    if ended.returncode == 0:
        yield good("format", "as `opa fmt` writes it")
    else:
        said = explain(ended.stdout.strip() or ended.stderr, folder)
        yield warning("format", f"not as `opa fmt` writes it:\n{said}", f"opa fmt --write {folder}")
    schemas = folder / "schemas"
    arguments = ["check", "--strict", *(["--schema", "schemas"] if schemas.is_dir() else [])]
    ended = run_opa(opa, [*arguments, "-b", "."], folder=folder)
    if ended.returncode == 0:
        yield good("types", "sound" if schemas.is_dir() else "sound, as far as no schema says")
    else:
        yield bad("types", explain(ended.stderr or ended.stdout, folder).strip(), "mend it")
    # What --schema checks is only what asks for it; elsewhere a misspelt member is undefined.
    silent = [
        name
        for name, text in take_snapshot(folder).items()
        if name.endswith(".rego") and _INPUT_SCHEMA.search(text) is None
    ]
    if schemas.is_dir() and silent:
        yield warning(
            "schemas",
            f"these do not name the input's schema, so nothing checks how they spell its members:"
            f" {', '.join(silent)}",
            "put `schemas: [{input: schema.input}]` into the package's METADATA",
        )


def _check_bundle(path: Path, settings: Settings | None) -> Iterator[Finding]:
    try:
        bundle = build_bundle(path) if path.is_dir() else load_bundle(path)
    except ConfigurationError as error:
        yield bad("policy", str(error).removeprefix("policy.path: "), "mend it")
        return
    yield good("policy", f"compiles, revision {bundle.revision}")
    yield from _check_grants(bundle, settings)


def _check_grants(bundle: Bundle, settings: Settings | None) -> Iterator[Finding]:
    grants = read_grants(bundle.data)
    problems = check_grants(grants, settings)
    for problem in problems:
        subject, _, text = str(problem).partition(": ")
        yield bad(f"grants {subject}", text, "mend it in broker/grants/data.yaml")
    if not problems:
        count = sum(map(len, grants.values())) if isinstance(grants, dict) else 0
        beside = "" if settings is None else ", of what is configured"
        yield good("grants", f"{count} well-formed{beside}")


def _print_tests(result: PolicyTests, folder: Path, threshold: float) -> None:
    console = build_console()
    for failure in result.failures:
        console.print(
            Text.assemble(("✗ ", "bad"), failure.name, ("  " + _place(failure, folder), "link"))
        )
        for line in failure.lines:
            console.print(Text(f"    {line}"))
    if result.failures:
        console.print()
    for place in result.uncovered:
        console.print(
            Text.assemble(("! ", "warning"), "no test reaches ", (f"{folder / place}", "link"))
        )
    if result.uncovered:
        console.print()
    style = "bad" if result.failures or not result.passed else "good"
    summary = Text(f"{result.passed} passed, {len(result.failures)} failed", style=style)
    if not result.failures:
        enough = "good" if result.coverage >= threshold else "bad"
        summary.append(f", {result.coverage:g} % covered", style=enough)
    console.print(summary)


def _place(failure: Failure, folder: Path) -> str:
    return str(folder / failure.place)
