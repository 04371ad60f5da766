"""``broker migrate``: the database as this version needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.cli.console import build_console
from broker.cli.findings import Finding, bad, good, print_findings
from broker.cli.options import Config
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import CannotMigrate, migrate, survey
from broker.settings import Settings, load_settings

BEHIND: Final = 1
COULD_NOT_MIGRATE: Final = 2
_ENOUGH_DAYS: Final = 7

app = typer.Typer(rich_markup_mode="markdown")


@app.command(
    "migrate",
    epilog="Exit codes: **0** it is as this version needs it, **1** with `--check`: it is not,"
    " **2** it could not be done.\n\nExample: `broker migrate --config broker.yaml`",
)
def bring_up(
    config: Config = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing, and only say what is missing.")
    ] = False,
) -> None:
    """Bring the database to this version's schema, and make the audit trail's next 90 days.

    Connects as `database.owner_url`, or else `database.url`. To be run before a new version is
    deployed, and at least once a quarter. Where several run at once, one works and the others
    wait. What is applied already is left as it is, also if a newer version did it.
    """
    try:
        with _owner_url(load_settings(config)) as url:
            if check:
                _check(url)
            else:
                _migrate(url)
    except CannotMigrate as cannot:
        text = Text.assemble(("✗ could not migrate: ", "bad"), str(cannot))
        build_console(stderr=True).print(text, soft_wrap=True)  # statements stay in one piece
        raise typer.Exit(COULD_NOT_MIGRATE) from None


def _migrate(url: str) -> None:
    console = build_console()
    done = [f"applied {revision}" for revision in migrate(url)]
    readiness = survey(url)
    done.append("the schema is as this version needs it")
    done.append(f"the audit trail has partitions for the next {readiness.days_left} days")
    for text in done:
        console.print(Text.assemble(("✓ ", "good"), text))


def _check(url: str) -> None:
    readiness = survey(url)
    remedy = "run: broker migrate"
    findings: list[Finding] = [
        bad("migrations", f"{revision} is not applied", remedy) for revision in readiness.pending
    ] or [good("migrations", "all are applied")]
    said = f"they last for {readiness.days_left} more days"
    if readiness.days_left < _ENOUGH_DAYS:
        findings.append(bad("audit partitions", said, remedy))
    else:
        findings.append(good("audit partitions", said))
    print_findings(findings, build_console())
    if any(finding.mark for finding in findings):
        raise typer.Exit(BEHIND)


@contextmanager
def _owner_url(settings: Settings) -> Iterator[str]:
    """Yield where to migrate; an embedded database is started for as long."""
    configured = settings.database.owner_url or settings.database.url
    if configured is not None:
        yield configured.get_secret_value()
        return
    with EmbeddedPostgres(settings.database.data_dir) as postgres:
        yield postgres.owner_url
