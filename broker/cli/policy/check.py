"""``broker policy check``: what is wrong with a policy, without asking it anything."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

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
from broker.cli.policy.flaws import render_flaw
from broker.cli.policy.folder import FOLDER
from broker.errors import ConfigurationError
from broker.policy.bundle import build_bundle, find_opa, load_bundle
from broker.policy.compiler import explain, run_opa
from broker.policy.grants import read_grants
from broker.policy.review.flaw import Weight
from broker.policy.review.review import review_bundle, review_folder
from broker.policy.snapshot import Snapshot, take_snapshot
from broker.settings import Settings, load_settings

CHECK_HELP: Final = (
    "Exit codes: **0** all is well, **1** something should be looked at, **2** something"
    " will fail.\n\nExample: `broker policy check policies --config broker.yaml`"
)
_INPUT_SCHEMA: Final = re.compile(rb"\bschema\.(proxy_)?input\b")


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
    """Say what is wrong with a policy, before it decides anything.

    Looked at: format, types by the input's schema, whether it compiles to WebAssembly without
    built-ins that a decision must not depend on, the grants, and what the rules of the library
    are called with: their form, circles of derivation, wildcards that are none. With `--config`
    also names that nobody has, grants that no token can make use of, what is given to everybody
    of a scopeless issuer, clients and targets without any grant. The policy is asked once for each
    grant, whether it ends and gives a decision. It says file and line.
    """
    settings = None if config is None else load_settings(config)
    if path is None:
        path = FOLDER if settings is None else settings.policy.path
    findings = list(_check_folder(path, settings) if path.is_dir() else _check(path, settings))
    if output is Format.JSON:
        print_findings_json(findings)
    else:
        print_findings(findings, build_console())
    raise typer.Exit(worst(findings).value)


def _check_folder(folder: Path, settings: Settings | None) -> Iterator[Finding]:
    try:
        snapshot = take_snapshot(folder)
    except ConfigurationError as error:
        # Not even opa is to look into it: it would follow the link, or wait for the pipe.
        yield _refused(error)
        return
    yield from _check_rego(folder, snapshot)
    yield from _check(folder, settings, snapshot)


def _check_rego(folder: Path, snapshot: Snapshot) -> Iterator[Finding]:
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
        for name, text in snapshot.items()
        if name.endswith(".rego") and _INPUT_SCHEMA.search(text) is None
    ]
    if schemas.is_dir() and silent:
        yield warning(
            "schemas",
            f"these do not name the input's schema, so nothing checks how they spell its members:"
            f" {', '.join(silent)}",
            "put `schemas: [{input: schema.input}]` into the package's METADATA",
        )


def _check(
    path: Path, settings: Settings | None, snapshot: Snapshot | None = None
) -> Iterator[Finding]:
    """Yield what is wrong with what a folder compiles to, or with a bundle."""
    try:
        bundle = load_bundle(path) if snapshot is None else build_bundle(path)
    except ConfigurationError as error:
        yield _refused(error)
        return
    yield good("policy", f"compiles, revision {bundle.revision}")
    flaws = list(
        review_bundle(bundle, settings)
        if snapshot is None
        else review_folder(find_opa(), snapshot, bundle, settings, path)
    )
    for flaw in sorted(flaws, key=lambda flaw: -flaw.weight):
        yield render_flaw(flaw)
    if all(flaw.weight is Weight.HINT for flaw in flaws):
        beside = "" if settings is None else ", of what is configured, and of use"
        yield good("grants", f"{_count(read_grants(bundle.data))} well-formed{beside}")


def _refused(error: ConfigurationError) -> Finding:
    return bad("policy", str(error).removeprefix("policy.path: "), "mend it")


def _count(grants: object) -> int:
    return sum(map(len, grants.values())) if isinstance(grants, dict) else 0
