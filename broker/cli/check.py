"""``broker check``: what is wrong with a configuration, said before it is started."""

import typer

from broker.cli.console import build_console
from broker.cli.findings import Finding, print_findings, print_findings_json, worst
from broker.cli.inspect_keys import shared_keys
from broker.cli.inspection import inspect
from broker.cli.options import Config, Format, Output

app = typer.Typer(rich_markup_mode="markdown")


@app.command(
    epilog="Exit codes: **0** all is well, **1** something should be looked at, **2** something"
    " will fail.\n\nExample: `broker check --config broker.yaml`"
)
def check(
    config: Config = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what is wrong with a configuration, without starting it and without asking anybody.

    Looked at: every key of the file, the key-encryption key, keys that are weak, broken or
    somebody else's as well, whether the policy compiles, and whether its grants name clients,
    targets and scopes that are configured. `broker doctor` looks outside too.
    """
    inspection = inspect(config)
    findings = [*inspection.findings, *shared_keys(inspection.keys)]
    report(findings, output)


def report(findings: list[Finding], output: Format) -> None:
    """Print what was found, and exit with what the worst of it stands for."""
    if output is Format.JSON:
        print_findings_json(findings)
    else:
        print_findings(findings, build_console())
    raise typer.Exit(worst(findings).value)
